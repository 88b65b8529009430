"""The bot as a process, and the worker processes that belong to it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Self

import psutil

from bot.config import Settings

REPOSITORY = Path(__file__).parents[2]
LAUNCHER = Path(__file__).with_name("launch.py")

# what the bot reads of the environment, so that the operator's own settings stay outside
SETTINGS = {field.name.upper() for field in fields(Settings)}


class BotProcess:
    """One run of the bot; its standard error is kept in a file."""

    def __init__(self, process: Process, log_file: Path, settings: Mapping[str, str]) -> None:
        self.process = process
        self.settings = settings
        self._log_file = log_file
        self._workers: set[psutil.Process] = set()

    @classmethod
    async def start(
        cls, url: str, folder: Path, settings: Mapping[str, str], command: str = "run"
    ) -> Self:
        """Start the bot in a folder, where it keeps its data and finds no `.env`."""
        inherited = {k: v for k, v in os.environ.items() if k not in SETTINGS}
        own = {"PYTHONPATH": str(REPOSITORY), "FAKE_DISCORD": url, "DATA_DIR": str(folder / "data")}
        log_file = folder / f"bot-{time.monotonic_ns()}.log"
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(LAUNCHER),
                command,
                cwd=folder,
                env={**inherited, **own, "FLUX_MODELS": "tiny", "DEVICE": "cpu", **settings},
                stdout=log,
                stderr=log,
            )
        return cls(process, log_file, settings)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log_file.read_text("utf-8")

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    def workers(self) -> set[psutil.Process]:
        """Return its worker processes that live now."""
        if self.running:
            children = psutil.Process(self.process.pid).children()
            self._workers |= {each for each in children if _is_worker(each)}
        return {each for each in self._workers if lives(each)}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold its workers still, so that what they are asked to do is not done meanwhile."""
        workers = self.workers()
        for worker in workers:
            worker.suspend()
        try:
            yield
        finally:
            for worker in workers:
                if lives(worker):
                    worker.resume()

    async def exit_code(self, seconds: float) -> int:
        """Wait for its end."""
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def end(self) -> None:
        """End it and its workers by force, where they still run."""
        workers = self.workers()
        if self.running:
            self.process.kill()
        await self.process.wait()
        for worker in workers:
            if lives(worker):
                worker.kill()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "bot.inference.worker" in process.cmdline()
    except psutil.Error:
        return False


def lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that only waits for its parent to notice does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def gone(processes: set[psutil.Process], seconds: float) -> bool:
    """Wait until processes have ended, and tell whether they have."""
    deadline = time.monotonic() + seconds
    while any(lives(each) for each in processes):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
