"""What travels to the cluster: the working directory, without what is not source."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from mtl_ray.errors import ConfigError

MAX_BYTES = 100 * 1024**2
"""What the dashboard of Ray accepts in one request (`DASHBOARD_CLIENT_MAX_SIZE` of Ray 2.60)."""

IGNORE_FILES = (".gitignore", ".rayignore")
"""Read in every folder, as `ray job submit` does."""

NEVER = (
    ".git",
    ".venv",
    "venv",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".ipynb_checkpoints",
    "node_modules",
    "/data",
    "/runs",
)
"""Left out whatever the ignore files say; `/data` and `/runs` only at the top."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Package:
    """The working directory as one zip file."""

    file: Path
    files: int
    left_out: tuple[str, ...]
    """Names at the top of the working directory that stay here."""

    @property
    def bytes(self) -> int:
        """Size of the zip file, which is what travels."""
        return self.file.stat().st_size


def pack(folder: Path, file: Path, limit: int = MAX_BYTES) -> Package:
    """Write the working directory `folder` to the zip file `file`.

    Equal contents give equal bytes, so that Ray finds a package again that it already has. Raises ConfigError where
    there is no such folder, or where the package would be larger than `limit` bytes, naming what takes most of it.
    """
    if not folder.is_dir():
        raise ConfigError(
            "There is no such working directory.", where="--working-dir", found=str(folder), allowed="a local folder"
        )
    members = sorted(_members(folder, []))
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in members:
            entry = zipfile.ZipInfo(member.relative_to(folder).as_posix(), _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if os.access(member, os.X_OK) else 0o644) << 16
            with member.open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(1024**2):
                    target.write(block)
                    if archive.fp is not None and archive.fp.tell() > limit:
                        raise _too_large(folder, members, limit)
    kept = {member.relative_to(folder).parts[0] for member in members}
    return Package(file, len(members), tuple(sorted(path.name for path in folder.iterdir() if path.name not in kept)))


def _members(folder: Path, rules: list[tuple[Path, GitIgnoreSpec]]) -> Iterator[Path]:
    """Files below `folder` that no rule leaves out. Symbolic links to folders are not followed."""
    lines = [line for name in IGNORE_FILES if (folder / name).is_file() for line in _lines(folder / name)]
    here = [*rules, (folder, GitIgnoreSpec.from_lines(lines if rules else [*NEVER, *lines, *NEVER]))]
    for path in folder.iterdir():
        is_folder = path.is_dir()
        name = "/" if is_folder else ""
        if any(spec.match_file(path.relative_to(top).as_posix() + name) for top, spec in here):
            continue
        if is_folder and not path.is_symlink():
            yield from _members(path, here)
        elif path.is_file():
            yield path


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8", errors="replace").splitlines()


def _too_large(folder: Path, members: list[Path], limit: int) -> ConfigError:
    sizes: Counter[str] = Counter()
    for member in members:
        relative = member.relative_to(folder)
        sizes["/".join(relative.parts[:2]) if len(relative.parts) > 2 else relative.as_posix()] += member.stat().st_size
    biggest = ", ".join(f"{name} {mebibytes(size)}" for name, size in sizes.most_common(5))
    return ConfigError(
        "The working directory is too large to be sent to Ray.",
        where=f"--working-dir {folder}",
        found=f"more than {mebibytes(limit)} in {len(members)} files, the most in {biggest}",
        allowed=f"{mebibytes(limit)}, packed",
        fix="name what the job does not need in .rayignore (as in .gitignore), and keep data where all nodes see it",
    )


def mebibytes(size: int) -> str:
    """A size in bytes, to be read."""
    return f"{size / 1024**2:.1f} MiB"
