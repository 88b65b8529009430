"""Whether the bot may answer in the channels of its servers where it is to be used."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence

import discord

from bot.checks.database import kept_settings
from bot.checks.finding import Finding, fault, ok, unchecked, warning
from bot.cogs._visit import NEEDED
from bot.config import Settings
from bot.errors import StorageError
from bot.i18n import listed
from bot.ladder import FAULTS
from bot.settings import DEFAULTS, ServerSettings

LIST_SECONDS, SECONDS = 10.0, 40.0
"""For the list of the servers, and for all of them together."""
AT_ONCE = 4
"""Servers that are asked about at the same time."""
MOST_NAMED = 3
"""Channels that one line names."""
MOST_SHOWN = 5
"""Servers in order that have lines of their own."""

MEND = "give the bot's role these permissions there, or invite it once more by the link above"

Place = discord.TextChannel | discord.VoiceChannel | discord.StageChannel | discord.ForumChannel


async def check_servers(client: discord.Client, settings: Settings) -> list[Finding]:
    """Look at each server that the bot serves; the client is logged in."""
    try:
        async with asyncio.timeout(LIST_SECONDS):
            guilds = [each async for each in client.fetch_guilds(limit=None, with_counts=False)]
    except FAULTS as error:
        return [unchecked("servers", _reason(error))]
    findings = _check_named({guild.id for guild in guilds}, settings)
    served = [g for g in guilds if not settings.allowed_servers or g.id in settings.allowed_servers]
    if not served:
        invite = "open the link above, as somebody who manages a server"
        return [*findings, warning("servers", "the bot is in none that it serves", invite)]
    return findings + await _check_each(client, served, await _rules(settings, served))


async def _check_each(
    client: discord.Client, guilds: Sequence[discord.Guild], rules: Mapping[int, ServerSettings]
) -> list[Finding]:
    """Look at some servers at the same time, as far as that can be done in SECONDS."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def check(guild: discord.Guild) -> Finding:
        async with turns:
            return await _check_server(client, guild.id, guild.name, rules[guild.id])

    tasks = [asyncio.create_task(check(guild)) for guild in guilds]
    done, late = await asyncio.wait(tasks, timeout=SECONDS)
    for task in late:
        task.cancel()
    await asyncio.wait(tasks)
    findings = _shortened([task.result() for task in tasks if task in done])
    if late:
        left = f"{len(late)} of {len(guilds)}, for which Discord took too long"
        findings.append(unchecked("servers", left))
    return findings


def _check_named(guild_ids: set[int], settings: Settings) -> list[Finding]:
    """Look whether the servers that the settings name are there."""
    findings = []
    if settings.dev_guild_id is not None and settings.dev_guild_id not in guild_ids:
        findings.append(
            fault(
                "servers",
                f"DEV_GUILD_ID is {settings.dev_guild_id}, and the bot is not in that server",
                "invite it there by the link above, or leave DEV_GUILD_ID empty",
            )
        )
    if absent := sorted(settings.allowed_servers - guild_ids):
        findings.append(
            warning(
                "servers",
                f"ALLOWED_SERVERS has {_first(list(map(str, absent)))}, where the bot is not",
                "invite it there by the link above",
            )
        )
    return findings


async def _rules(settings: Settings, guilds: Sequence[discord.Guild]) -> dict[int, ServerSettings]:
    """Return what each server has set, the defaults where that cannot be read."""
    rules = dict.fromkeys((guild.id for guild in guilds), DEFAULTS)
    try:
        async with kept_settings(settings.data_dir) as kept:
            if kept is not None:
                return {each: await kept.at(each) for each in rules}
    except (StorageError, sqlite3.Error):
        pass  # the check of the database says what is wrong with it
    return rules


async def _check_server(
    client: discord.Client, guild_id: int, name: str, rules: ServerSettings
) -> Finding:
    assert client.user is not None
    try:
        guild = await client.fetch_guild(guild_id, with_counts=False)
        channels = await guild.fetch_channels()
        me = await guild.fetch_member(client.user.id)
    except FAULTS as error:
        return unchecked("server", f"{name}: {_reason(error)}")
    return judge(name, channels, me, rules)


def judge(
    name: str,
    channels: Sequence[discord.abc.GuildChannel],
    me: discord.Member,
    rules: ServerSettings,
) -> Finding:
    """Say whether the bot may answer where the rules of a server let it be used."""
    if rules.archive_channel is not None:
        archive = next((each for each in channels if each.id == rules.archive_channel), None)
        if archive is None or missing(archive, me):
            return fault(
                "server",
                f"{name}: it cannot post in its archive ({rules.archive_channel})",
                "give the bot's role the permissions there, or change archive_channel in /settings",
            )
    places = _places(channels, rules)
    if rules.allowed_channels and not places:
        return fault(
            "server",
            f"{name}: none of the allowed channels is there",
            "change allowed_channels in /settings",
        )
    closed = {place: lacks for place in places if (lacks := missing(place, me))}
    # what nobody has allowed by name may well be closed, but not all of it
    if not closed or (not rules.allowed_channels and len(closed) < len(places)):
        return ok("server", f"{name}: may answer in {len(places) - len(closed)} of {len(places)}")
    said = [f"#{place.name} (may not {listed(lacks, 'or')})" for place, lacks in closed.items()]
    return fault("server", f"{name}: cannot answer in {_first(said)}", MEND)


def missing(channel: discord.abc.GuildChannel, me: discord.Member) -> list[str]:
    """Return what the bot may not do in a channel, of what a public answer needs."""
    granted = channel.permissions_for(me)
    needed = dict(NEEDED)
    if isinstance(channel, discord.ForumChannel):
        needed["send_messages_in_threads"] = needed.pop("send_messages")
    return [said for name, said in needed.items() if not getattr(granted, name)]


def _places(
    channels: Sequence[discord.abc.GuildChannel], rules: ServerSettings
) -> list[discord.abc.GuildChannel]:
    """Return the channels with messages in which the rules let the bot be used."""
    places: list[discord.abc.GuildChannel] = []
    for channel in channels:
        ids = {channel.id, channel.category_id}
        named = not rules.allowed_channels or ids.intersection(rules.allowed_channels)
        if isinstance(channel, Place) and named and not ids.intersection(rules.denied_channels):
            places.append(channel)
    return places


def _shortened(findings: list[Finding]) -> list[Finding]:
    """Return findings without a line for each of many servers that are in order."""
    in_order = [each for each in findings if each.state == "ok"]
    if len(in_order) <= MOST_SHOWN:
        return findings
    others = [each for each in findings if each.state != "ok"]
    return [ok("servers", f"the bot may answer in {len(in_order)} servers"), *others]


def _first(said: list[str]) -> str:
    more = [f"{len(said) - MOST_NAMED} more"] if len(said) > MOST_NAMED else []
    return listed([*said[:MOST_NAMED], *more])


def _reason(error: Exception) -> str:
    if isinstance(error, discord.HTTPException):
        return f"Discord answers with status {error.status}"
    return f"Discord does not answer ({type(error).__name__})"
