"""The servers that the bot leaves and comes back to, noted for what is kept of them."""

from __future__ import annotations

import time

import discord
from discord.ext import commands

from bot.client import FluxBot
from bot.departures import THE_BOT


class Departures(commands.Cog):
    """Listens for servers, also for what has happened to them while the bot was away."""

    def __init__(self, bot: FluxBot) -> None:
        self._bot = bot

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Begin to count the days until the data of a server is deleted."""
        await self._bot.storage.departures.note(guild.id, THE_BOT, time.time())

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Keep the data of a server that the bot is in again."""
        await self._bot.storage.departures.clear(guild.id, THE_BOT)

    @commands.Cog.listener()
    async def on_shard_ready(self, shard_id: int) -> None:
        """Look for what has happened meanwhile, at the start and whenever a session was lost."""
        await self._bot.leavers.compare()


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(Departures(bot))
