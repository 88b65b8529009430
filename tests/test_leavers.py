"""Who has left: noted, waited for, and their data deleted where that is the rule."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot import leavers
from bot.config import LeaversRule, Settings
from bot.departures import THE_BOT, Departure
from bot.inference.previews import MaskPreviews
from bot.leavers import GRACE, Leavers
from bot.storage import Storage
from tests.conftest import Scene, open_scene
from tests.doubles import HeldExecutor
from tests.records import AWAY, at, has_begun, made

LATER = time.time() + 10 * GRACE


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leavers, "PAUSE", 0.0)


@pytest.fixture
async def scene(settings: Settings, previews: MaskPreviews) -> AsyncIterator[Scene]:
    async with open_scene(settings, HeldExecutor(), previews=previews) as scene:
        await has_begun(scene.app.jobs)
        yield scene


class Calendar:
    """The time of day, in the test's hand."""

    def __init__(self) -> None:
        self.now = LATER

    def tell(self) -> float:
        """Return the time of day."""
        return self.now


def watcher(scene: Scene, rule: LeaversRule, calendar: Calendar) -> Leavers:
    return Leavers(scene.app.client, scene.app.storage, rule, calendar.tell)


async def job_of(scene: Scene, user_id: int, guild_id: int | None = None) -> int:
    """Return a job that ended long ago, of the scene's server if no other is named."""
    storage = scene.app.storage
    job = await made(storage, user_id=user_id, guild_id=guild_id or scene.channel.guild.id)
    await at(storage, job, 1000.0)
    return job.id


async def jobs_left(storage: Storage) -> list[int]:
    return [row["id"] for row in await storage._database.rows("SELECT id FROM jobs ORDER BY id")]


async def noted(scene: Scene) -> list[tuple[int, int]]:
    departures = await scene.app.storage.departures.before(float("inf"))
    return [(each.guild_id, each.user_id) for each in departures]


async def test_who_left_is_noted_and_deleted_after_the_grace_while_others_stay(
    scene: Scene,
) -> None:
    guild, calendar = scene.channel.guild, Calendar()
    await job_of(scene, scene.alice.id)
    kept = await job_of(scene, scene.bob.id)
    watch = watcher(scene, "purge", calendar)
    await watch.sweep()
    assert await noted(scene) == []
    guild.remove_member(scene.alice)
    await watch.sweep()
    assert await noted(scene) == [(guild.id, scene.alice.id)]
    calendar.now += GRACE - 1
    await watch.sweep()
    assert len(await jobs_left(scene.app.storage)) == 2
    calendar.now += 2
    await watch.sweep()
    assert await jobs_left(scene.app.storage) == [kept]
    assert await noted(scene) == []


async def test_who_comes_back_in_time_keeps_all(scene: Scene) -> None:
    guild, calendar = scene.channel.guild, Calendar()
    job = await job_of(scene, scene.alice.id)
    watch = watcher(scene, "purge", calendar)
    guild.remove_member(scene.alice)
    await watch.sweep()
    guild.add_member(scene.alice.user)
    calendar.now += GRACE + 1
    await watch.sweep()
    assert await noted(scene) == []
    assert await jobs_left(scene.app.storage) == [job]


async def test_where_leavers_keep_their_data_discord_is_not_even_asked(scene: Scene) -> None:
    guild, calendar = scene.channel.guild, Calendar()
    job = await job_of(scene, scene.alice.id)
    await scene.app.storage.departures.note(guild.id, scene.alice.id, 0.0)
    guild.remove_member(scene.alice)
    before = len(scene.env.http_requests)
    await watcher(scene, "keep", calendar).sweep()
    assert len(scene.env.http_requests) == before
    assert await jobs_left(scene.app.storage) == [job]


async def test_what_discord_does_not_say_is_no_departure(scene: Scene) -> None:
    await job_of(scene, scene.alice.id)
    scene.env.inject_error("GET", "/guilds/*/members/*", status=500, times=None)
    await watcher(scene, "purge", Calendar()).sweep()
    assert await noted(scene) == []


async def test_a_server_that_discord_does_not_tell_of_is_neither_noted_nor_deleted(
    scene: Scene,
) -> None:
    storage, calendar = scene.app.storage, Calendar()
    job = await job_of(scene, scene.alice.id, AWAY)
    watch = watcher(scene, "keep", calendar)
    scene.env.inject_error("GET", "/users/@me/guilds", status=500, times=None)
    await watch.compare()
    assert await noted(scene) == []
    await storage.departures.note(AWAY, THE_BOT, 0.0)
    await watch.sweep()
    assert await jobs_left(storage) == [job]


async def test_a_server_that_the_client_still_knows_is_noted_if_the_bot_is_not_in_it(
    scene: Scene,
) -> None:
    guild = scene.env.create_guild()
    await scene.env.settle()
    await job_of(scene, scene.alice.id, guild.id)
    # as while the bot is offline: nothing tells it
    del scene.env.backend.guilds[guild.id]
    assert scene.app.client.get_guild(guild.id) is not None
    await watcher(scene, "keep", Calendar()).compare()
    assert await noted(scene) == [(guild.id, THE_BOT)]


async def test_each_day_asks_for_the_next_members(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leavers, "ASKED", 2)
    guild, calendar = scene.channel.guild, Calendar()
    members = [guild.add_member(scene.env.create_user(f"user{n}")) for n in range(5)]
    for member in members:
        await job_of(scene, member.id)
        guild.remove_member(member)
    seen = []
    for _ in range(3):
        await watcher(scene, "purge", calendar).sweep()
        seen.append(len(await noted(scene)))
        calendar.now += leavers.DAY
    assert len(set(seen)) == 3
    assert {user_id for _, user_id in await noted(scene)} == {member.id for member in members}


async def test_the_data_of_a_server_goes_a_month_after_the_bot(
    scene: Scene, settings: Settings
) -> None:
    storage, calendar = scene.app.storage, Calendar()
    await job_of(scene, scene.alice.id, AWAY)
    kept = await job_of(scene, scene.alice.id)
    await storage.settings.change(AWAY, 0, {"private": True}, user_id=1)
    watch = watcher(scene, "keep", calendar)
    await watch.compare()
    assert await noted(scene) == [(AWAY, THE_BOT)]
    await watch.sweep()
    assert len(await jobs_left(storage)) == 2
    calendar.now += GRACE + 1
    await watch.sweep()
    assert await jobs_left(storage) == [kept]
    assert not (await storage.settings.at(AWAY)).private
    assert AWAY not in await storage.history.guild_ids()
    assert await noted(scene) == []


async def test_the_data_of_a_server_that_the_bot_is_in_again_stays(scene: Scene) -> None:
    guild_id, calendar = scene.channel.guild.id, Calendar()
    job = await job_of(scene, scene.alice.id)
    await scene.app.storage.departures.note(guild_id, THE_BOT, 0.0)
    await watcher(scene, "keep", calendar).sweep()
    assert await noted(scene) == []
    assert await jobs_left(scene.app.storage) == [job]


async def test_a_departure_noted_by_a_wrong_clock_does_not_delete_what_is_young(
    scene: Scene,
) -> None:
    storage, calendar = scene.app.storage, Calendar()
    job = await made(storage, guild_id=AWAY)
    await at(storage, job, LATER - 5.0)
    await storage.departures.note(AWAY, THE_BOT, 1000.0)
    await watcher(scene, "keep", calendar).sweep()
    assert await jobs_left(storage) == [job.id]


async def test_while_the_bot_is_offline_nobody_has_left(tmp_path: Path, scene: Scene) -> None:
    async with Storage.open(tmp_path / "other") as storage:
        await made(storage)
        await storage.departures.note(AWAY, THE_BOT, 0.0)
        client = type(scene.app.client)(scene.app.client.settings, storage)
        await Leavers(client, storage, "purge", Calendar().tell).sweep()
        assert await storage.departures.before(1.0) == [
            Departure(guild_id=AWAY, user_id=THE_BOT, left_at=0.0)
        ]
        assert await jobs_left(storage) == [1]
