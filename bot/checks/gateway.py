"""Whether Discord's gateway would let the bot in now, on as many shards as it has."""

from __future__ import annotations

import asyncio

import discord

from bot.checks.finding import Finding, fault, ok, unchecked, warning
from bot.config import Settings
from bot.ladder import FAULTS
from bot.units import format_wait

SECONDS = 10.0
"""For Discord to answer."""


async def check_gateway(client: discord.Client, settings: Settings) -> Finding:
    """Look how many shards the bot has and may begin; none is begun. The client is logged in."""
    try:
        async with asyncio.timeout(SECONDS):
            recommended, _, limits = await client.http.get_bot_gateway()
    except FAULTS as error:
        return unchecked("gateway", f"Discord does not tell of it ({type(error).__name__})")
    shards = settings.shard_count or recommended
    left = f"{limits['remaining']} of {limits['total']} sessions are left"
    if limits["remaining"] < shards:
        wait = format_wait(limits["reset_after"] / 1000)
        return fault(
            "gateway",
            f"{left}, and a start takes {shards}",
            f"there are new ones in {wait}; see in the log why the bot connects so often",
        )
    if shards < recommended:
        return warning(
            "gateway",
            f"SHARD_COUNT is {shards}, and Discord recommends {recommended}",
            "leave SHARD_COUNT empty, for as many as it recommends",
        )
    return ok("gateway", f"shards: {shards}; {left}")
