"""Measures where the time of a step goes."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from mtl_ray import distributed
from mtl_ray.report.step_profile import PROFILE_FILE, PROFILE_FOLDER, TRACE_FILE, StepPart, StepProfile

WARM_UP, STEPS = 10, 20
"""Steps before, and those that are profiled."""
OPERATORS = 12

_SPAN = "step: "
INPUT, FORWARD, BACKWARD, EXCHANGE, CLIP = "input wait", "forward", "backward", "exchange of embedding rows", "clip"
SPANS = (INPUT, FORWARD, BACKWARD, EXCHANGE, CLIP)
_OPTIMIZER, _OF_OPTIMIZER = "Optimizer.step#", ".step"
_MIXED = "MixedOptimizer"
_COLLECTIVES = ("gloo:", "nccl:")


def span(name: str) -> record_function:
    """Context manager: what runs inside is that part of a step. Costs a microsecond or two while nobody profiles."""
    return record_function(_SPAN + name)


class Profiling:
    """Profiles some steps in the beginning of a training, on one rank, and leaves a trace and a summary.

    Attributes:
        found: the summary, once those steps are over.
    """

    def __init__(self, run: Path, device: torch.device, rows: int) -> None:
        """
        Args:
            run: the run folder; receives `profile/summary.json` and `profile/trace.json.gz`, which Chrome and Perfetto
                show.
            rows: of a step, over all ranks.
        """
        self._folder = run / PROFILE_FOLDER
        self._device = device
        self._rows = rows
        self._done = 0
        self._began = 0.0
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        self._profile = profile(activities=activities)
        self.found: StepProfile | None = None

    def after_step(self, step: int) -> bool:
        """Note that step number `step` (1-based) is over; True once, when the summary is there."""
        self._done += 1
        if self._done == WARM_UP:
            self._wait()
            self._profile.start()
            self._began = time.perf_counter()
        elif self._done == WARM_UP + STEPS:
            self._wait()
            seconds = time.perf_counter() - self._began
            self._profile.stop()
            self.found = self._summary(seconds, step - STEPS + 1)
            self._write(self.found)
            return True
        return False

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _summary(self, seconds: float, first_step: int) -> StepProfile:
        events = self._profile.key_averages()
        by_name = {event.key: event for event in events}

        def part(name: str, key: str) -> StepPart:
            event = by_name[key]
            return StepPart(
                name=name,
                milliseconds=event.cpu_time_total / STEPS / 1e3,
                device_milliseconds=event.device_time_total / STEPS / 1e3,
            )

        parts = [part(name, _SPAN + name) for name in SPANS if _SPAN + name in by_name]
        for key in by_name:
            if key.startswith(_OPTIMIZER) and _MIXED not in key:
                optimizer = key.removeprefix(_OPTIMIZER).removesuffix(_OF_OPTIMIZER)
                parts.append(part(f"optimizer {optimizer}", key))
        own = sorted(
            (event for event in events if not event.key.startswith((_SPAN, _OPTIMIZER, *_COLLECTIVES))),
            key=lambda event: -(event.self_cpu_time_total + event.self_device_time_total),
        )
        return StepProfile(
            device=str(self._device),
            workers=distributed.world_size(),
            first_step=first_step,
            steps=STEPS,
            rows=self._rows,
            step_milliseconds=1e3 * seconds / STEPS,
            parts=tuple(parts),
            communication_milliseconds=sum(
                max(event.cpu_time_total, event.device_time_total)
                for event in events
                if event.key.startswith(_COLLECTIVES)
            )
            / STEPS
            / 1e3,
            operators=tuple(
                StepPart(
                    name=event.key,
                    milliseconds=event.self_cpu_time_total / STEPS / 1e3,
                    device_milliseconds=event.self_device_time_total / STEPS / 1e3,
                )
                for event in own[:OPERATORS]
            ),
        )

    def _write(self, found: StepProfile) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._profile.export_chrome_trace(str(self._folder / TRACE_FILE))
        (self._folder / PROFILE_FILE).write_text(found.model_dump_json(indent=1))
