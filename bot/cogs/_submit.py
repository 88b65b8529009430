"""How a command hands its request to the queue."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import aiohttp
import discord

from bot.client import ALREADY_ACKNOWLEDGED, FluxBot
from bot.cogs._attachments import read
from bot.cogs._visit import visit
from bot.inference.types import SEED_LIMIT, Request
from bot.policy import Admission
from bot.records import Origin

ReadImages = Callable[[], Awaitable[Mapping[str, bytes]]]


def random_seed() -> int:
    """Return a seed for a request that names none."""
    return secrets.randbelow(SEED_LIMIT)


async def acknowledge(interaction: discord.Interaction[FluxBot], *, private: bool) -> int:
    """Show that the bot is thinking, and return the id of the message that says so.

    A connection that breaks is tried once more, which discord.py does not do on Linux. If Discord
    had taken the first attempt, it refuses the second; the message is there all the same.
    """
    try:
        acknowledged = await _defer(interaction, private)
    except (aiohttp.ClientError, OSError):
        acknowledged = await _defer(interaction, private)
    if acknowledged is not None and acknowledged.message_id is not None:
        return acknowledged.message_id
    return (await interaction.original_response()).id


async def _defer(
    interaction: discord.Interaction[FluxBot], private: bool
) -> discord.InteractionCallbackResponse[FluxBot] | None:
    """Acknowledge; None where Discord says that an attempt before, or discord.py's own, did so."""
    try:
        return await interaction.response.defer(ephemeral=private, thinking=True)
    except discord.HTTPException as error:
        if error.code != ALREADY_ACKNOWLEDGED:
            raise
        return None


def origin(
    interaction: discord.Interaction[FluxBot], message_id: int, admission: Admission
) -> Origin:
    """Return who asks, and the message that the answer goes to."""
    assert interaction.channel_id is not None
    is_command = interaction.type is discord.InteractionType.application_command
    in_public = interaction.guild_id is not None and not admission.private
    return Origin(
        user_id=interaction.user.id,
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        message_id=message_id,
        application_id=interaction.application_id,
        token=interaction.token,
        private=admission.private,
        spoiler=admission.spoiler,
        filesize_limit=interaction.filesize_limit,
        look=replace(admission.look, named=in_public and not is_command),
    )


async def submit(
    interaction: discord.Interaction[FluxBot],
    request: Request,
    attachments: Mapping[str, discord.Attachment] | None = None,
    *,
    private: bool | None,
    spoiler: bool,
    images: ReadImages | None = None,
    repeats: int | None = None,
) -> None:
    """Queue the request of a command that the rules admit; raise Refused for others.

    The command is acknowledged, which Discord expects within three seconds, then the attachments
    are read, and become the images of the request; or `images` reads these from elsewhere.
    """
    bot = interaction.client
    async with bot.policy.admission(
        visit(interaction), request, private=private, spoiler=spoiler
    ) as admission:
        # before the acknowledgement: what is said after it may be public
        bot.jobs.check_room(
            interaction.guild_id, interaction.user.id, admission.limits, request.cells
        )
        message_id = await acknowledge(interaction, private=admission.private)
        request = admission.request
        if attachments:
            request = replace(request, images=await read(attachments))
        if images is not None:
            request = replace(request, images=await images())
        await bot.jobs.submit(
            request,
            origin(interaction, message_id, admission),
            limits=admission.limits,
            repeats=repeats,
        )
