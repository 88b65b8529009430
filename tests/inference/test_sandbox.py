"""A process for the files of members ends when it is idle, and breaks alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from bot import i18n
from bot.errors import UnusableImage
from bot.i18n import _, speaking
from bot.inference.sandbox import Sandbox, reading_pictures
from tests.catalogues import Catalogues

PLENTY = 60.0


def nothing() -> None:
    """Need no preparation."""


def end() -> None:
    """Break the process that calls this."""
    os._exit(3)


def use_catalogues(folder: Path) -> None:
    """Take the catalogues of a folder for those of the program."""
    i18n.LOCALES = folder


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.01)


async def test_it_starts_when_it_is_needed_and_ends_when_nobody_has_needed_it_for_long() -> None:
    sandbox = Sandbox("test", nothing, idle=0.05)
    assert sandbox.process_ids == ()
    first = await sandbox.run(os.getpid, seconds=PLENTY)
    assert first != os.getpid()
    await until(lambda: sandbox.process_ids == () and not psutil.pid_exists(first))
    second = await sandbox.run(os.getpid, seconds=PLENTY)
    assert second != first
    await sandbox.close()
    assert not psutil.pid_exists(second)


async def test_it_does_not_end_in_the_midst_of_its_work() -> None:
    sandbox = Sandbox("test", nothing, idle=0.05)
    await sandbox.run(nothing, seconds=PLENTY)
    await sandbox.run(time.sleep, 0.3, seconds=PLENTY)
    await sandbox.close()


async def test_it_stays_where_no_time_is_given() -> None:
    sandbox = Sandbox("test", nothing)
    first = await sandbox.run(os.getpid, seconds=PLENTY)
    assert await sandbox.run(os.getpid, seconds=PLENTY) == first
    await sandbox.close()


async def test_what_takes_too_long_is_ended_and_the_next_one_served() -> None:
    sandbox = Sandbox("test", nothing)
    child = await sandbox.run(os.getpid, seconds=PLENTY)
    with pytest.raises(TimeoutError):
        await sandbox.run(signal.pause, seconds=0.1)
    assert not psutil.pid_exists(child)
    assert await sandbox.run(os.getpid, seconds=PLENTY) != child
    await sandbox.close()


async def test_what_breaks_it_is_told_so_and_the_next_one_served() -> None:
    sandbox = Sandbox("test", nothing)
    with pytest.raises(BrokenExecutor):
        await sandbox.run(end, seconds=PLENTY)
    assert await sandbox.run(os.getpid, seconds=PLENTY)
    await sandbox.close()


async def test_after_the_end_nothing_is_started_for_those_who_still_wait() -> None:
    sandbox = Sandbox("test", nothing)
    await sandbox.run(nothing, seconds=PLENTY)
    runs = [asyncio.create_task(sandbox.run(signal.pause, seconds=PLENTY)) for _ in range(2)]
    await asyncio.sleep(0)  # the first one works, the second one waits for its turn
    await sandbox.close()
    ends = await asyncio.gather(*runs, return_exceptions=True)
    assert all(isinstance(each, BrokenExecutor) for each in ends)
    assert sandbox.process_ids == ()


async def test_a_process_that_cannot_be_prepared_breaks_and_does_not_hang() -> None:
    sandbox = Sandbox("test", end)
    with pytest.raises(BrokenExecutor):
        await sandbox.run(os.getpid, seconds=PLENTY)
    await sandbox.close()


async def test_there_the_same_language_is_spoken_as_here(catalogues: Catalogues) -> None:
    catalogues.add("fr", {"Cancel": "Annuler"})
    sandbox = Sandbox("test", partial(use_catalogues, i18n.LOCALES))
    assert await sandbox.run(_, "Cancel", seconds=PLENTY) == "Cancel"
    with speaking("fr"):
        assert await sandbox.run(_, "Cancel", seconds=PLENTY) == "Annuler"
    assert await sandbox.run(_, "Cancel", seconds=PLENTY) == "Cancel"
    await sandbox.close()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TimeoutError(), "The attached picture takes too long to read."),
        (BrokenExecutor(), "The attached picture could not be read."),
    ],
)
def test_what_a_picture_did_to_it_is_a_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(UnusableImage, match=sentence), reading_pictures():
        raise error
