"""Places where files are kept: folders, and prefixes of an object store such as `s3://bucket/runs`.

Whatever is written is written to a local folder first. For a place in an object store that folder is a mirror in this
machine's cache, and `upload` and `mirror` carry files across. An object appears whole or not at all; of several that
belong together, the one that lists the others goes last.

Credentials, endpoint and region are the environment's alone (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, or the role of the pod); they are never part of a place and never written.
"""

from __future__ import annotations

import functools
import hashlib
import os
import posixpath
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlparse
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs

from mtl_ray.errors import StorageError

CACHE = "MTL_RAY_CACHE"
"""Environment variable with the folder of the mirrors; without it `mtl_ray` in the user's cache folder."""

PATIENCE = 60.0
"""Seconds for which a store that does not answer is asked again, once it has answered before."""

_CHUNK_BYTES = 8 << 20
_LOST = re.compile("NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT|HTTP status 50")
_REFUSED = re.compile(r"ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE|EXPIRED|HTTP status 40[13]")

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def is_remote(path: str | Path) -> bool:
    """Whether `path` is a URI of another file system than this machine's."""
    scheme = urlparse(str(path)).scheme
    return len(scheme) > 1 and scheme != "file"  # one letter is a drive


def below(place: str, *names: str) -> str:
    """The place of a file or folder below `place`."""
    return "/".join([place.rstrip("/"), *names])


def relative(place: str, folder: str) -> str:
    """How a page in `folder` links what lies at `place`; a path from there where both are on one file system."""
    if not (is_remote(place) or is_remote(folder)):
        return Path(os.path.relpath(Path(place).absolute(), Path(folder).absolute())).as_posix()
    to, start = urlparse(place), urlparse(folder)
    if (to.scheme, to.netloc) != (start.scheme, start.netloc):
        return place
    return posixpath.relpath(to.path, start.path)


def cache_folder(place: str) -> Path:
    """This machine's mirror of `place`, made where absent. Raises StorageError where it cannot be."""
    given = os.environ.get(CACHE)
    root = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtl_ray"
    name = hashlib.sha256(place.rstrip("/").encode()).hexdigest()[:16]
    folder = root / name / place.rstrip("/").rsplit("/", 1)[-1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            "The cache of what lies in the object store cannot be written.",
            where=f"{CACHE} = {given}" if given else str(root),
            found=error.strerror or str(error),
            fix=f"set {CACHE} to a folder that can be written",
        ) from error
    return folder


def filesystem_of(place: str) -> tuple[pafs.FileSystem, str]:
    """The file system of `place` and the path in it. Raises StorageError for one that pyarrow does not know."""
    try:
        return pafs.FileSystem.from_uri(place)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise StorageError(
            "This place cannot be used.",
            where=place,
            found=_first_line(error),
            allowed="a local folder, s3://BUCKET/PREFIX, or another URI that pyarrow knows",
        ) from error


def patient(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """`function`, called again for a while when the store does not answer. Raises StorageError in the end."""

    @functools.wraps(function)
    def again(*arguments: Arguments.args, **options: Arguments.kwargs) -> Answer:
        begin = time.monotonic()
        pause = 0.5
        while True:
            try:
                return function(*arguments, **options)
            except OSError as error:
                if not _LOST.search(str(error)) or time.monotonic() - begin > PATIENCE:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 10.0)

    return again


def check_writable(place: str) -> None:
    """Raise StorageError where no object can be written below `place`: no bucket, no permission, no answer."""
    filesystem, path = filesystem_of(place)
    probe = f"{path.rstrip('/')}/.writable-{uuid4().hex}"
    try:
        with filesystem.open_output_stream(probe) as stream:
            stream.write(b"written to see whether it can be")
        filesystem.delete_file(probe)
    except OSError as error:
        raise told(place, error) from error


@patient
def check_bucket(place: str) -> None:
    """Raise StorageError where the bucket of `place` is not there. For whoever found nothing, and wants to say why."""
    if not is_remote(place):
        return
    filesystem, path = filesystem_of(place)
    bucket = path.split("/", 1)[0]
    try:
        absent = filesystem.get_file_info(bucket).type == pafs.FileType.NotFound
    except OSError as error:
        if _LOST.search(str(error)):
            raise
        raise told(place, error) from error
    if absent:
        raise StorageError("There is no such bucket.", where=place, found=bucket, fix="create it, or correct the place")


@patient
def is_file(place: str) -> bool:
    """Whether a file or an object stands at `place`. Raises StorageError where the store refuses."""
    if not is_remote(place):
        return _local(place).is_file()
    filesystem, path = filesystem_of(place)
    try:
        return bool(filesystem.get_file_info(path).type == pafs.FileType.File)
    except OSError as error:
        if _LOST.search(str(error)):
            raise
        raise told(place, error) from error


@patient
def read_bytes(place: str) -> bytes:
    """The file or object at `place`. Raises FileNotFoundError where there is none."""
    with _open(place) as stream:
        return bytes(stream.read())


@patient
def write_bytes(place: str, content: bytes) -> None:
    """Put an object at `place`."""
    filesystem, path = filesystem_of(place)
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


@patient
def copy(place: str, other: str) -> None:
    """Put the file or object at `place` at `other`, in the same store."""
    filesystem, path = filesystem_of(place)
    _, target = filesystem_of(other)
    if not is_remote(other):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
    filesystem.copy_file(path, target)


@patient
def sha256(place: str | Path) -> str:
    """Hexadecimal SHA-256 of the file or object at `place`."""
    digest = hashlib.sha256()
    with _open(str(place)) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@patient
def sizes(place: str) -> dict[str, int]:
    """Size in bytes of every object below `place`, by its name from there."""
    return {name: info.size for name, info in _objects(place).items()}


def newest_first(place: str, pattern: str) -> list[str]:
    """Names of the files or objects below `place` that fit the pattern of their names from there, newest first."""
    if is_remote(place):
        times = {name: info.mtime_ns for name, info in patient(_objects)(place).items()}
    else:
        folder = _local(place)
        times = {file.relative_to(folder).as_posix(): file.stat().st_mtime_ns for file in folder.glob(pattern)}
    fitting = [name for name in times if PurePosixPath(name).match(pattern)]
    return sorted(fitting, key=lambda name: -times[name])


def upload(folder: Path, place: str, leave_out: Sequence[str] = (), last: Sequence[str] = ()) -> None:
    """Put every file below `folder` at `place`, but what is there already and newer; `last`: names that go last.

    `leave_out`: names at the top of `folder`. Raises StorageError where the store refuses, or is gone for too long.
    """
    files = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
    wanted = [name for name in files if name.split("/", 1)[0] not in leave_out]
    try:
        there = patient(_objects)(place)
        for name in sorted(wanted, key=lambda name: name in last):
            state = (folder / name).stat()
            known = there.get(name)
            if known is None or known.size != state.st_size or known.mtime_ns < state.st_mtime_ns:
                _send(folder / name, below(place, name))
    except OSError as error:
        raise told(place, error) from error


def prune(place: str, folder: Path) -> None:
    """Remove every object below `place` that `folder` has no file for. Raises StorageError where the store refuses."""
    try:
        filesystem, path = filesystem_of(place)
        for name in patient(_objects)(place):
            if not (folder / name).is_file():
                patient(filesystem.delete_file)(f"{path.rstrip('/')}/{name}")
    except OSError as error:
        raise told(place, error) from error


def mirror(place: str, folder: Path, leave_out: Sequence[str] = ()) -> Path:
    """Bring every object below `place` to `folder`, but what is there already and as new; returns `folder`.

    `leave_out`: names at the top of `place`. Files of `folder` that have no object stay.
    """
    try:
        for name, info in patient(_objects)(place).items():
            if name.split("/", 1)[0] in leave_out:
                continue
            file = folder / name
            if file.is_file() and file.stat().st_size == info.size and file.stat().st_mtime_ns >= info.mtime_ns:
                continue
            fetch(below(place, name), file)
            os.utime(file, ns=(info.mtime_ns, info.mtime_ns))  # as old as the object, so that a newer one is seen
    except OSError as error:
        raise told(place, error) from error
    return folder


def local_copy(place: str | Path) -> Path:
    """The folder `place` itself, or this machine's mirror of it where it lies in an object store."""
    return mirror(str(place), cache_folder(str(place))) if is_remote(place) else Path(place)


@patient
def fetch(place: str, file: Path) -> None:
    """Bring the object at `place` to `file`, which appears whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        with _open(place) as source, aside.open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def told(place: str, error: OSError) -> StorageError:
    """What the object store has answered, and what to do."""
    text = str(error)
    if "NO_SUCH_BUCKET" in text or "NoSuchBucket" in text:
        what, fix = "There is no such bucket.", "create it, or correct storage"
    elif _REFUSED.search(text):
        what = "The object store refuses."
        fix = "check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or the role) and what they may do here"
    elif _LOST.search(text):
        what, fix = "The object store does not answer.", "check AWS_ENDPOINT_URL and the network"
    else:
        what, fix = "The object store cannot be used.", "check the place, AWS_ENDPOINT_URL and the credentials"
    return StorageError(what, where=place, found=_first_line(error), fix=fix)


def _first_line(error: BaseException) -> str:
    return re.sub(r" \(Request ID: [^)]*\)", "", (str(error) or type(error).__name__).splitlines()[0])[:300]


def _local(place: str) -> Path:
    return Path(place.removeprefix("file://"))


def _open(place: str) -> Any:
    if not is_remote(place):
        return _local(place).open("rb")
    filesystem, path = filesystem_of(place)
    return filesystem.open_input_stream(path)


def _objects(place: str) -> dict[str, pafs.FileInfo]:
    filesystem, path = filesystem_of(place)
    path = path.rstrip("/")
    selector = pafs.FileSelector(path, recursive=True, allow_not_found=True)
    found = (info for info in filesystem.get_file_info(selector) if info.type == pafs.FileType.File)
    return {info.path.removeprefix(path).lstrip("/"): info for info in found}


@patient
def _send(file: Path, place: str) -> None:
    filesystem, path = filesystem_of(place)
    with file.open("rb") as source, filesystem.open_output_stream(path) as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
