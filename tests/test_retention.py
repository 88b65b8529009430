"""The daily sweep: what is too old or too much goes, what is young never does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import discord
import pytest

from bot import retention
from bot.errors import StorageError
from bot.files import disk_use
from bot.leavers import Leavers
from bot.retention import Retention
from bot.settings import DAY
from bot.storage import Storage
from tests.records import AWAY, HOME, REQUEST, at, made, queued

NOW = 1_800_000_000.0


@dataclass
class Clock:
    """The time of day, and the time that has passed, which the test moves."""

    now: float = NOW
    passed: float = 0.0
    sweeps: list[float] = field(default_factory=list)

    def tell(self) -> float:
        """Return the time of day."""
        return self.now

    def steady(self) -> float:
        """Return the time that has passed."""
        return self.passed

    def pass_on(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.passed += seconds


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path) as storage:
        yield storage


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sweeper(storage: Storage, clock: Clock, limit: int | None = None) -> Retention:
    """Return what sweeps, with a client that is not connected."""
    client = discord.Client(intents=discord.Intents.none())
    leavers = Leavers(client, storage, "purge", clock.tell)
    return Retention(storage, leavers, limit, clock.tell, clock.steady)


async def jobs_left(storage: Storage) -> list[int]:
    return [row["id"] for row in await storage._database.rows("SELECT id FROM jobs ORDER BY id")]


def everything(folder: Path) -> bytes:
    """Return the bytes of all files of a data folder."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_each_server_keeps_its_jobs_for_as_long_as_it_has_set(
    storage: Storage, clock: Clock
) -> None:
    await storage.settings.change(HOME, 0, {"keep_days": 7}, user_id=1)
    for days in (8, 6):
        await at(storage, await made(storage), NOW - days * DAY)
    await at(storage, await made(storage, guild_id=AWAY), NOW - 3000 * DAY)
    await at(storage, await made(storage, guild_id=None), NOW - 3000 * DAY)
    await sweeper(storage, clock).sweep()
    assert await jobs_left(storage) == [2, 3, 4]


async def test_what_waits_is_never_too_old(storage: Storage, clock: Clock) -> None:
    await storage.settings.change(HOME, 0, {"keep_days": 1}, user_id=1)
    job = await queued(storage)
    await storage._database.change("UPDATE jobs SET created_at = 0")
    await sweeper(storage, clock).sweep()
    assert await jobs_left(storage) == [job.id]


async def test_a_job_that_seems_to_come_from_the_future_is_left(
    storage: Storage, clock: Clock
) -> None:
    await storage.settings.change(HOME, 0, {"keep_days": 1}, user_id=1)
    await at(storage, await made(storage), NOW + 1000 * DAY)
    await sweeper(storage, clock, limit=None).sweep()
    assert await jobs_left(storage) == [1]


async def test_when_the_clock_jumps_nothing_is_deleted_until_it_has_stood_for_a_day(
    storage: Storage, clock: Clock
) -> None:
    await storage.settings.change(HOME, 0, {"keep_days": 7}, user_id=1)
    await at(storage, await made(storage), NOW)
    sweep = sweeper(storage, clock)
    clock.now += 1000 * DAY
    await sweep.sweep()
    assert await jobs_left(storage) == [1]
    clock.now -= 1000 * DAY
    clock.pass_on(DAY)
    await sweep.sweep()
    clock.pass_on(DAY)
    await sweep.sweep()
    assert await jobs_left(storage) == [1]
    clock.pass_on(6 * DAY)
    await sweep.sweep()
    assert await jobs_left(storage) == []


async def test_files_stay_below_the_limit_and_rows_stay_all(
    storage: Storage, clock: Clock, tmp_path: Path
) -> None:
    for _ in range(4):
        await made(storage)
    of_one = disk_use(tmp_path / "images") // 4
    await sweeper(storage, clock, limit=2 * of_one).sweep()
    assert disk_use(tmp_path / "images") == 2 * of_one
    assert await jobs_left(storage) == [1, 2, 3, 4]


async def test_files_of_nobody_go_but_not_those_that_are_just_written(
    storage: Storage, clock: Clock, tmp_path: Path
) -> None:
    for name, age in (("old", 3700.0), ("new", 3500.0), ("future", -DAY)):
        (tmp_path / "images" / name).write_bytes(b"")
        os.utime(tmp_path / "images" / name, (NOW - age, NOW - age))
    await sweeper(storage, clock).sweep()
    assert {file.name for file in (tmp_path / "images").iterdir()} == {"new", "future"}


async def test_old_records_of_changes_and_of_use_go(storage: Storage, clock: Clock) -> None:
    await storage.settings.change(HOME, 0, {"keep_days": 0}, user_id=1)
    for days in (29, 31):
        await storage._database.change(
            "INSERT INTO usage VALUES (1, ?, ?, 5, 0)", HOME, NOW - days * DAY
        )
    for days in (364, 366):
        await storage._database.change(
            "INSERT INTO settings_log (guild_id, channel_id, user_id, key, changed_at)"
            " VALUES (?, 0, 1, 'private', ?)",
            HOME,
            NOW - days * DAY,
        )
    await storage._database.change("DELETE FROM settings_log WHERE key = 'keep_days'")
    await sweeper(storage, clock).sweep()
    assert await storage.usage(0, HOME) == [(NOW - 29 * DAY, 5.0)]
    (change,) = await storage.settings.log(HOME, count=9)
    assert change.changed_at == NOW - 364 * DAY


async def test_what_was_too_old_is_in_no_file_any_more(
    storage: Storage, clock: Clock, tmp_path: Path
) -> None:
    await storage.settings.change(HOME, 0, {"keep_days": 1}, user_id=1)
    words = "a walrus in the moonlight"
    await made(storage, request=REQUEST.from_options(REQUEST.options() | {"prompt": words}))
    await at(storage, await storage.job(1), NOW - 2 * DAY)
    await sweeper(storage, clock).sweep()
    assert words.encode() not in everything(tmp_path)


async def test_others_have_their_turn_while_ten_thousand_jobs_are_deleted(
    storage: Storage, clock: Clock
) -> None:
    await storage.settings.change(HOME, 0, {"keep_days": 1}, user_id=1)
    await at(storage, await made(storage), NOW - 2 * DAY)
    await storage._database.change(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
        " INSERT INTO jobs (state, user_id, guild_id, channel_id, message_id, application_id,"
        " token, private, spoiler, request, created_at, finished_at)"
        " SELECT state, user_id, guild_id, channel_id, message_id, application_id, token,"
        " private, spoiler, request, created_at, finished_at FROM jobs, n"
    )
    sweep = asyncio.create_task(sweeper(storage, clock).sweep())
    while len(await jobs_left(storage)) > 9000:
        await asyncio.sleep(0)
    job = await queued(storage)
    assert not sweep.done()
    await sweep
    assert await jobs_left(storage) == [job.id]


async def test_a_disk_that_is_ill_today_is_tried_again(
    storage: Storage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST", 0.0)
    monkeypatch.setattr(retention, "DAY", 0.0)
    again = asyncio.Event()

    async def refuse(_: float) -> int:
        clock.sweeps.append(clock.now)
        if len(clock.sweeps) > 1:
            again.set()
            await asyncio.Event().wait()
        raise StorageError(Path("data"), "Input/output error")

    monkeypatch.setattr(storage.disposal, "remove_orphans", refuse)
    running = asyncio.create_task(sweeper(storage, clock).run())
    async with asyncio.timeout(10):
        await again.wait()
    running.cancel()
    await asyncio.wait({running})
    assert len(clock.sweeps) == 2
