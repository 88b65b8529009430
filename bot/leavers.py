"""Members who have left a server where data of theirs is kept, and servers that the bot has left.

To be told of every member who leaves would take a privileged intent. So Discord is asked, a few
hundred members a day, each day the next ones.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import discord

from bot.config import LeaversRule
from bot.departures import THE_BOT, Departure
from bot.ladder import FAULTS
from bot.membership import is_member
from bot.settings import DAY
from bot.storage import Storage

_log = logging.getLogger(__name__)

ASKED = 300
"""Members that are asked for in one sweep, at most."""

PAUSE = 1.0
"""Seconds between two such requests: they share the bot's 50 a second."""

GRACE = 30 * DAY
"""Seconds in which who has left may come back to what is kept."""


class Leavers:
    """Notes who has left, and deletes their data when `GRACE` is over, if the `rule` is so."""

    def __init__(
        self,
        client: discord.Client,
        storage: Storage,
        rule: LeaversRule,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._storage = storage
        self._rule = rule
        self._clock = clock

    async def sweep(self) -> None:
        """Look for members who have left, and delete what is due; nothing while offline."""
        if not self._client.is_ready():
            return
        if self._rule == "purge":
            await self._look()
        due = self._clock() - GRACE
        for departure in await self._storage.departures.before(due):
            await self._purge(departure, due)

    async def compare(self) -> None:
        """Note the servers with data that the bot is not in, for it may have been offline."""
        present = await self._servers()
        if present is None:
            return
        for guild_id in await self._storage.history.guild_ids():
            if guild_id in present:
                await self._storage.departures.clear(guild_id, THE_BOT)
            else:
                await self._storage.departures.note(guild_id, THE_BOT, self._clock())

    async def _servers(self) -> set[int] | None:
        """Return the servers that the bot is in, None where Discord does not say.

        It is asked: the client still knows those that it was removed from while it was offline.
        """
        try:
            guilds = self._client.fetch_guilds(limit=None, with_counts=False)
            return {guild.id async for guild in guilds}
        except FAULTS as error:
            _log.info("which servers the bot is in is not known: %s", error)
            return None

    async def _look(self) -> None:
        """Ask for the members whose turn it is: the date tells where the last day stopped."""
        pages = -(-await self._storage.history.member_count() // ASKED)
        if not pages:
            return
        start = int(self._clock() // DAY) % pages * ASKED
        for guild_id, user_id in await self._storage.history.members(start=start, count=ASKED):
            is_there = await is_member(self._client, guild_id, user_id)
            if is_there is None:
                continue
            if is_there:
                await self._storage.departures.clear(guild_id, user_id)
            else:
                await self._storage.departures.note(guild_id, user_id, self._clock())
            await asyncio.sleep(PAUSE)

    async def _purge(self, departure: Departure, due: float) -> None:
        """Delete the data of who is still away; `due` is when they must have left before."""
        guild_id, user_id = departure.guild_id, departure.user_id
        is_bot = user_id == THE_BOT
        if not is_bot and self._rule == "keep":
            return
        last = await self._storage.history.last_end(guild_id, None if is_bot else user_id)
        if last >= due:
            return  # the clock was wrong when the departure was noted
        if is_bot:
            present = await self._servers()
            is_there = None if present is None else guild_id in present
        else:
            is_there = await is_member(self._client, guild_id, user_id)
        if is_there is None:
            return  # Discord does not say
        if is_there:
            await self._storage.departures.clear(guild_id, user_id)
        elif is_bot:
            _log.info("server %d: its data is deleted, %d days after", guild_id, GRACE // DAY)
            await self._storage.purge_guild(guild_id)
        else:
            _log.info("server %d: the data of a member who left is deleted", guild_id)
            await self._storage.disposal.delete_member(user_id, guild_id)
