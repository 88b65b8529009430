"""Which jobs somebody may see, by where they ask and which channels are open to them there."""

from __future__ import annotations

from collections.abc import Callable

import discord

from bot.client import FluxBot
from bot.cogs._visit import is_age_restricted
from bot.errors import Refused
from bot.history import Sight
from bot.i18n import _
from bot.records import Job


def own_sight(interaction: discord.Interaction[FluxBot]) -> Sight:
    """Return the sight of a member: their own jobs."""
    return Sight(user_id=interaction.user.id, guild_id=interaction.guild_id)


def moderators_sight(interaction: discord.Interaction[FluxBot]) -> Sight:
    """Return the sight of who manages messages: what is public in those channels; raise Refused."""
    channel_ids = _channel_ids(interaction, lambda allowed: allowed.manage_messages)
    if not channel_ids:
        raise Refused(
            _("Only those who manage messages in this server see what others have made."),
            _("Leave `whose` out to see your own."),
        )
    return Sight(
        user_id=interaction.user.id, guild_id=interaction.guild_id, channel_ids=channel_ids
    )


def wide_sight(interaction: discord.Interaction[FluxBot]) -> Sight:
    """Return the sight of somebody who scrolls through all channels that are open to them."""
    return Sight(
        user_id=interaction.user.id,
        guild_id=interaction.guild_id,
        channel_ids=_channel_ids(interaction, lambda allowed: allowed.read_message_history),
    )


def sees(sight: Sight, job: Job) -> bool:
    """Tell whether a job is in somebody's sight."""
    origin = job.origin
    if origin.user_id == sight.user_id:
        return sight.guild_id in (None, origin.guild_id)
    if origin.private or origin.guild_id is None or origin.guild_id != sight.guild_id:
        return False
    return origin.channel_id in sight.channel_ids


def _channel_ids(
    interaction: discord.Interaction[FluxBot], may: Callable[[discord.Permissions], bool]
) -> frozenset[int]:
    """Return the channels and threads that a member sees, where they `may` do something.

    What is in age-restricted ones stays there, and in others of that kind.
    """
    guild, member = interaction.guild, interaction.user
    if guild is None or not isinstance(member, discord.Member):
        return frozenset()
    among_adults = is_age_restricted(interaction.channel)
    ids = set()
    for channel in (*guild.channels, *guild.threads):
        allowed = channel.permissions_for(member)
        # who is in a private thread is not known here; those who manage threads are in all
        hidden = isinstance(channel, discord.Thread) and channel.is_private()
        if hidden and not allowed.manage_threads:
            continue
        if is_age_restricted(channel) and not among_adults:
            continue
        if allowed.read_messages and may(allowed):
            ids.add(channel.id)
    return frozenset(ids)
