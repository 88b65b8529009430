"""A disk of the bot's own that can be full, and a lock on its database that others hold."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil

from .bot_process import BotProcess

SIZE = "64m"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put a small disk in the place of a folder, where that is allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def no_room(bot: BotProcess, folder: Path) -> Iterator[None]:
    """Fill the disk of a folder; where it is no small one, let the bot's files grow no more."""
    if folder.is_mount():
        ballast = folder / "ballast"
        try:
            _fill(ballast)
            yield
        finally:
            ballast.unlink()
        return
    process = psutil.Process(bot.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write into a folder."""
    mode = folder.stat().st_mode
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(mode)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold the lock of a database, as another program does that writes into it."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(os.sysconf("SC_PAGE_SIZE")))
