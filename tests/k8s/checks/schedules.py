"""Schedules: readable, in a stated time zone, and no run that meets the next one."""

from __future__ import annotations

from collections.abc import Iterator

from tests.k8s.objects import Object, key, of_kind

RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
DAY = 86_400


def check(objects: list[Object]) -> Iterator[str]:
    for thing in of_kind(objects, "CronJob", "RayCronJob", "FeatureStore"):
        spec = thing["spec"].get("cronJob", {}) if thing["kind"] == "FeatureStore" else thing["spec"]
        yield from (f"{key(thing)}: {problem}" for problem in _problems(thing["kind"], spec))


def _problems(kind: str, spec: Object) -> Iterator[str]:
    schedule = spec.get("schedule", "")
    if not readable(schedule):
        yield f"no cron schedule: {schedule!r}"
        return
    if "timeZone" not in spec:
        yield "no timeZone: the controller's own would count"
    if kind != "RayCronJob" and spec.get("concurrencyPolicy") != "Forbid":
        yield "concurrencyPolicy is not Forbid"
    if kind == "RayCronJob":
        # The operator starts the next one whether or not this one runs: a daily one has a day.
        minute, hour, *days = schedule.split()
        daily = minute.isdecimal() and hour.isdecimal()
        if not daily or spec["jobTemplate"].get("activeDeadlineSeconds", DAY) >= DAY or any("/" in day for day in days):
            yield "a run may meet the next one"


def readable(schedule: str) -> bool:
    """Whether a schedule has five fields of numbers, lists, ranges and steps within their bounds."""
    fields = schedule.split()
    return len(fields) == len(RANGES) and all(map(_field, fields, RANGES))


def _field(text: str, bounds: tuple[int, int]) -> bool:
    for part in text.split(","):
        span, _, step = part.partition("/")
        ends = [] if span == "*" else span.split("-")
        numbers = [*ends, *([step] if "/" in part else [])]
        if not all(number.isdecimal() for number in numbers) or len(ends) > 2 or step == "0":
            return False
        if any(not bounds[0] <= int(end) <= bounds[1] for end in ends):
            return False
    return True
