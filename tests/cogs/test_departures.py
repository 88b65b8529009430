"""Servers that the bot leaves and comes back to, also while it is away."""

from __future__ import annotations

from simcord.backend.serializers import guild_create_payload

from bot.departures import THE_BOT
from tests.conftest import Scene, restarted
from tests.doubles import HeldExecutor
from tests.records import AWAY, has_begun, made


async def noted(scene: Scene) -> list[tuple[int, int]]:
    departures = await scene.app.storage.departures.before(float("inf"))
    return [(each.guild_id, each.user_id) for each in departures]


async def test_a_server_that_the_bot_is_removed_from_is_noted(held_scene: Scene) -> None:
    guild = held_scene.env.create_guild()
    await held_scene.env.settle()
    held_scene.env.backend.remove_guild(guild.id)
    await held_scene.env.settle()
    assert await noted(held_scene) == [(guild.id, THE_BOT)]


async def test_a_server_that_the_bot_is_invited_to_again_is_not_counted_any_more(
    held_scene: Scene,
) -> None:
    backend = held_scene.env.backend
    guild = held_scene.env.create_guild()
    await held_scene.env.settle()
    known = backend.get_guild(guild.id)
    backend.remove_guild(guild.id)
    await held_scene.env.settle()
    assert len(await noted(held_scene)) == 1
    known.channel_ids.clear()
    backend.guilds[guild.id] = known
    payload = dict(guild_create_payload(backend, known))
    payload.pop("unavailable", None)  # Discord says that of servers the bot has been in all along
    backend.emit("GUILD_CREATE", payload)
    await held_scene.env.settle()
    assert await noted(held_scene) == []


async def test_what_happened_while_the_bot_was_away_is_seen_at_its_start(
    held_scene: Scene, held: HeldExecutor
) -> None:
    storage = held_scene.app.storage
    await has_begun(held_scene.app.jobs)
    await made(storage, guild_id=AWAY)
    await made(storage, guild_id=held_scene.channel.guild.id)
    await storage.departures.note(held_scene.channel.guild.id, THE_BOT, 5.0)
    async with restarted(held_scene, held_scene.app.client.settings, held) as scene:
        await scene.env.settle()
        assert await noted(scene) == [(AWAY, THE_BOT)]
