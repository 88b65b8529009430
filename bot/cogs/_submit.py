"""How a command hands its request to the queue."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace

import aiohttp
import discord

from bot.client import ALREADY_ACKNOWLEDGED, FluxBot
from bot.cogs._attachments import read
from bot.inference.types import SEED_LIMIT, Request
from bot.records import Origin

UNREAD = b""
"""Stands for an attachment while the options are checked: it is read when they are in order."""


def random_seed() -> int:
    """Return a seed for a request that names none."""
    return secrets.randbelow(SEED_LIMIT)


async def acknowledge(interaction: discord.Interaction[FluxBot], *, private: bool) -> int:
    """Show that the bot is thinking, and return the id of the message that says so.

    A connection that breaks is tried once more, which discord.py does not do on Linux. If Discord
    had taken the first attempt, it refuses the second; the message is there all the same.
    """
    try:
        acknowledged = await interaction.response.defer(ephemeral=private, thinking=True)
    except (aiohttp.ClientError, OSError):
        try:
            acknowledged = await interaction.response.defer(ephemeral=private, thinking=True)
        except discord.HTTPException as error:
            if error.code != ALREADY_ACKNOWLEDGED:
                raise
            acknowledged = None
    if acknowledged is not None and acknowledged.message_id is not None:
        return acknowledged.message_id
    return (await interaction.original_response()).id


def origin(
    interaction: discord.Interaction[FluxBot], message_id: int, *, private: bool, spoiler: bool
) -> Origin:
    """Return who asks, and the message that the answer goes to."""
    assert interaction.channel_id is not None
    return Origin(
        user_id=interaction.user.id,
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        message_id=message_id,
        application_id=interaction.application_id,
        token=interaction.token,
        private=private,
        spoiler=spoiler,
        filesize_limit=interaction.filesize_limit,
    )


async def submit(
    interaction: discord.Interaction[FluxBot],
    request: Request,
    attachments: Mapping[str, discord.Attachment] | None = None,
    *,
    private: bool,
    spoiler: bool,
) -> None:
    """Acknowledge a command, which Discord expects within three seconds, and queue its request.

    The attachments are read in between, and become the images of the request.
    """
    message_id = await acknowledge(interaction, private=private)
    if attachments:
        request = replace(request, images=await read(attachments))
    await interaction.client.jobs.submit(
        request, origin(interaction, message_id, private=private, spoiler=spoiler)
    )
