"""How a command hands its request to the queue."""

from __future__ import annotations

import secrets

import discord

from bot.client import FluxBot
from bot.inference.types import SEED_LIMIT, Request
from bot.storage import Origin


def random_seed() -> int:
    """Return a seed for a request that names none."""
    return secrets.randbelow(SEED_LIMIT)


async def submit(
    interaction: discord.Interaction[FluxBot], request: Request, *, private: bool, spoiler: bool
) -> None:
    """Acknowledge a command, which Discord expects within three seconds, and queue its request."""
    acknowledged = await interaction.response.defer(ephemeral=private, thinking=True)
    message_id = acknowledged.message_id if acknowledged else None
    if message_id is None:
        message_id = (await interaction.original_response()).id
    assert interaction.channel_id is not None
    await interaction.client.jobs.submit(
        request,
        Origin(
            user_id=interaction.user.id,
            guild_id=interaction.guild_id,
            channel_id=interaction.channel_id,
            message_id=message_id,
            application_id=interaction.application_id,
            token=interaction.token,
            private=private,
            spoiler=spoiler,
        ),
    )
