"""The model compiled by torch.compile: always, never, or where it was measured to pay."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from mtl_ray import distributed

WARM_UP, TIMED = 3, 10
"""Steps before, and those that are timed, of each of the two. The first compiled one compiles."""


class Compilation:
    """Compiles `model` in place: its modules, parameters and their names stay what they are. Embedding tables whose
    gradients are sparse, which torch's compiler has no code for (2.13), are looked up outside of what is compiled.

    With "auto" the first WARM_UP + TIMED steps run as they are, the next ones compiled, and the faster goes on: on all
    ranks the same one. All are steps of the training, whose results differ by rounding. Dropout draws what it draws
    without compilation.

        with compilation.step():
            step(batch)
        words = compilation.decided()
    """

    def __init__(self, model: nn.Module, setting: bool | Literal["auto"], device: torch.device) -> None:
        self._model = model
        self._device = device
        self._trying = setting == "auto"
        self._steps = 0
        self._seconds = {False: 0.0, True: 0.0}
        self._words: str | None = None
        if setting is True:
            self._compile()
            self._words = "the model is compiled by torch.compile"

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around a training step. Collective in the last one that is tried."""
        if not self._trying:
            yield
            return
        phase = WARM_UP + TIMED
        compiled, at = self._steps >= phase, self._steps % phase
        if compiled and at == 0:
            self._compile()
        timed = at >= WARM_UP
        if timed:
            self._wait()
        began = time.perf_counter()
        yield
        if timed:
            self._wait()
            self._seconds[compiled] += time.perf_counter() - began
        self._steps += 1
        if self._steps == 2 * phase:
            self._decide()

    def decided(self) -> str | None:
        """In words what is compiled and why, once; None before and after."""
        words, self._words = self._words, None
        return words

    def _compile(self) -> None:
        from torch._inductor import config as inductor

        inductor.fallback_random = True
        for module in self._model.modules():
            if isinstance(module, nn.Embedding) and module.sparse:
                module.forward = torch.compiler.disable(module.forward)  # type: ignore[method-assign, no-untyped-call]
        # All batches have one shape.
        self._model.compile(dynamic=False)

    def _decide(self) -> None:
        seconds = torch.tensor([self._seconds[False], self._seconds[True]], dtype=torch.float64, device=self._device)
        plain, compiled = (distributed.start_sum(seconds)() / distributed.world_size() / TIMED).tolist()
        self._trying = False
        times = f"{1e3 * compiled:.1f} ms a step with torch.compile, {1e3 * plain:.1f} ms without"
        if compiled < plain:
            self._words = f"{times}: the model stays compiled"
            return
        self._model._compiled_call_impl = None
        self._words = f"{times}: the model is not compiled"

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
