"""The files of the data folder: each complete under its name, or not there at all."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bot.errors import DiskFull, StorageBusy, StorageError

FOLDERS = ("images", "inputs")


def prepare_folder(folder: Path) -> None:
    """Make the data folder, for its owner alone; raise StorageError if it cannot be written."""
    with sentences(folder):
        for each in (folder, *(folder / name for name in FOLDERS)):  # `parents` ignores the mode
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder / "images"):
            pass


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files under `folder`, named by their paths in it, all or none."""
    written: list[Path] = []
    try:
        for path, content in contents.items():
            written.append(write_file(folder / path, content))
    except OSError:
        for file in written:
            file.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: bytes) -> Path:
    """Write a file so that its name never stands for half of it."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return Path(partial).replace(path)
    except OSError:
        Path(partial).unlink(missing_ok=True)
        raise


@contextmanager
def sentences(folder: Path) -> Iterator[None]:
    """Turn the errors of disk and database into StorageErrors."""
    try:
        yield
    except OSError as error:
        kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        raise kind(folder, error.strerror or str(error)) from error
    except sqlite3.Error as error:
        raise _kind_of(error)(folder, str(error)) from error


def _kind_of(error: sqlite3.Error) -> type[StorageError]:
    kinds = {"disk is full": DiskFull, "database is locked": StorageBusy}
    return next((kind for words, kind in kinds.items() if words in str(error)), StorageError)


def input_path(sha256: str) -> str:
    """Return where in the data folder an attached image of that hash lies."""
    return f"inputs/{sha256}"


def write_inputs(folder: Path, images: Mapping[str, bytes]) -> dict[str, str]:
    """Keep attached images as files named by their SHA-256, and return the hash of each."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in images.items()}
    missing = {
        path: images[name]
        for name, sha256 in hashes.items()
        if not (folder / (path := input_path(sha256))).exists()
    }
    write_files(folder, missing)
    return hashes


async def read_files(folder: Path, paths: Iterable[str]) -> list[bytes]:
    """Return what is in files, named by their paths in a folder; raise StorageError."""
    files = [folder / path for path in paths]
    with sentences(folder):
        return await asyncio.to_thread(lambda: [file.read_bytes() for file in files])


def disk_use(folder: Path) -> int:
    """Return the bytes of all files below a folder; what vanishes meanwhile counts for nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total
