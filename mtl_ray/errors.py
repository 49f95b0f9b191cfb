"""What can go wrong, said so that the reader can mend it.

A `UserError` is a mistake in a config, a data set or a path: its message says what is wrong, where, what was
found, what is allowed and how to mend it, and the jobs end with exit status 2. Every other failure of ours is a
plain `MtlRayError`, exit status 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar


class MtlRayError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_status: ClassVar[int] = 1


class DivergedError(MtlRayError):
    """Training has reached a loss that is no number."""


class InterruptedRunError(MtlRayError):
    """The user stopped a training with Ctrl-C."""

    exit_status: ClassVar[int] = 130


class UserError(MtlRayError):
    """A mistake that the user can mend.

    The parts are kept as attributes, and `str(error)` joins those that are given, one a line:
    `what` (one sentence), `where` (config key, file or column), `found`, `allowed`, `fix`.
    """

    exit_status: ClassVar[int] = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        found: Any = None,
        allowed: Any = None,
        fix: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.found = found
        self.allowed = allowed
        self.fix = fix
        parts = [what]
        for title, value in (("where", where), ("found", found), ("allowed", allowed), ("fix", fix)):
            if value is not None:
                parts.append(f"  {title + ':':<9}{value}")
        super().__init__("\n".join(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions travel between Ray processes by pickle, which would call __init__ with the joined message.
        parts = {"where": self.where, "found": self.found, "allowed": self.allowed, "fix": self.fix}
        return _rebuild, (type(self), self.what, parts)


class ConfigError(UserError):
    """A config file or an override that cannot be used."""


class DataError(UserError):
    """A spine, label or raw log that cannot be used."""


class FeatureStoreError(UserError):
    """A Feast repo, registry, feature service or source that cannot be used."""


class StorageError(UserError):
    """A path that cannot be read or written."""


class SnapshotError(UserError):
    """A training-set snapshot that is absent, incomplete or damaged."""


class ClusterError(UserError):
    """A Ray cluster that cannot be reached, refuses, or is too small."""


class CheckpointError(UserError):
    """A run or checkpoint that is absent, incomplete, damaged or does not fit."""


def _rebuild(kind: type[UserError], what: str, parts: dict[str, Any]) -> UserError:
    return kind(what, **parts)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, or None."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None
