"""Where the time of a training's steps goes: what a worker leaves, and how the report shows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mtl_ray.errors import CheckpointError
from mtl_ray.report.formatting import percent
from mtl_ray.schema import Settings

PROFILE_FOLDER, PROFILE_FILE, TRACE_FILE = "profile", "summary.json", "trace.json.gz"


class StepPart(Settings):
    """One part of a step."""

    name: str
    milliseconds: float
    """Of the process that issues the work; on a GPU the work itself may take longer or shorter."""
    device_milliseconds: float = 0.0
    """Of the GPU's kernels that were issued in it."""


class StepProfile(Settings):
    """Of rank 0, a mean over steps."""

    device: str
    workers: int
    first_step: int
    """1-based."""
    steps: int
    rows: int
    """Of a step, over all workers."""
    step_milliseconds: float
    parts: tuple[StepPart, ...]
    """One after the other; what they leave of a step is everything else."""
    communication_milliseconds: float
    """Of collectives between workers, which run beside the parts and within them."""
    operators: tuple[StepPart, ...]
    """The longest, by their own time."""

    @property
    def shares(self) -> dict[str, float]:
        """Part -> its share of a step; `rest` at the end."""
        found = {part.name: part.milliseconds / self.step_milliseconds for part in self.parts}
        return {**found, "rest": max(0.0, 1.0 - sum(found.values()))}

    def in_words(self) -> str:
        """One line."""
        shares = ", ".join(f"{name} {percent(share)}" for name, share in self.shares.items())
        return f"a step took {self.step_milliseconds:.1f} ms: {shares}"


@dataclass(frozen=True)
class ProfileContent:
    """What the report shows."""

    intro: str
    parts: tuple[tuple[str, str, str, float], ...]
    """Name, milliseconds, share in words, share."""
    device: bool
    """Whether the parts have times on a GPU."""
    device_milliseconds: tuple[str, ...]
    communication: str
    operators: tuple[tuple[str, str], ...]
    trace: str


def read_profile(run: Path) -> StepProfile | None:
    """Of a run that was profiled. Raises CheckpointError where the file is damaged."""
    path = run / PROFILE_FOLDER / PROFILE_FILE
    if not path.is_file():
        return None
    try:
        return StepProfile.model_validate_json(path.read_text())
    except (OSError, ValidationError, ValueError) as error:
        raise CheckpointError(
            "The run's profile is damaged.",
            where=str(path),
            found=str(error).splitlines()[0],
            fix="remove the folder, or train again",
        ) from error


def profile_content(profile: StepProfile | None) -> ProfileContent | None:
    """None for a run without a profile."""
    if profile is None:
        return None
    last = profile.first_step + profile.steps - 1
    rate = profile.rows / profile.step_milliseconds * 1000
    device = {part.name: part.device_milliseconds for part in profile.parts}
    milliseconds = {part.name: part.milliseconds for part in profile.parts}
    parts = tuple(
        (name, f"{milliseconds.get(name, share * profile.step_milliseconds):.2f}", percent(share), share)
        for name, share in profile.shares.items()
    )
    return ProfileContent(
        intro=f"Steps {profile.first_step} to {last}, rank 0 of {profile.workers} on {profile.device}: "
        f"{profile.step_milliseconds:.1f} ms a step, {rate:,.0f} rows a second with the profiler's own cost.",
        parts=parts,
        device=any(device.values()),
        device_milliseconds=tuple(f"{device.get(name, 0.0):.2f}" for name, *_ in parts),
        communication=f"{profile.communication_milliseconds:.2f}",
        operators=tuple((part.name, f"{part.milliseconds:.2f}") for part in profile.operators),
        trace=f"{PROFILE_FOLDER}/{TRACE_FILE}",
    )
