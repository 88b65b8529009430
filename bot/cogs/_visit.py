"""Where a command is given, and by whom: what the rules look at, and what holds there."""

from __future__ import annotations

from dataclasses import dataclass

import discord

from bot.client import FluxBot
from bot.i18n import N_, _
from bot.inference.tools import Family
from bot.rules import Visit

NEEDED = {
    "view_channel": N_("see messages"),
    "send_messages": N_("send messages"),
    "embed_links": N_("embed links"),
    "attach_files": N_("attach files"),
}
"""Permissions without which a public answer does not arrive, or not after fifteen minutes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """What a command takes where its options are left out; `family` has the tools' own.

    Where the quantization is `locked`, no other may be taken.
    """

    family: Family
    model: str
    size: str
    quantization: str
    locked: bool = False


def visit(interaction: discord.Interaction[FluxBot]) -> Visit:
    """Return who asks, and where."""
    channel, member = interaction.channel, interaction.user
    return Visit(
        user_id=member.id,
        guild_id=interaction.guild_id,
        channel_ids=channel_ids(channel),
        role_ids=frozenset(role.id for role in getattr(member, "roles", ())),
        age_restricted=is_age_restricted(channel),
        missing=_missing(interaction),
    )


async def defaults(interaction: discord.Interaction[FluxBot]) -> Defaults:
    """Return what holds where a command is given."""
    bot = interaction.client
    settings = await bot.policy.settings(visit(interaction))
    return Defaults(
        family=settings.family(bot.family),
        model=settings.model,
        size=settings.size,
        quantization=bot.policy.quantization(settings),
        locked=settings.quantization_locked,
    )


def channel_ids(channel: object) -> tuple[int, ...]:
    """Return category, channel and thread, as far as there are any, in this order."""
    if isinstance(channel, discord.Thread):
        return (*channel_ids(channel.parent), channel.id)
    if isinstance(channel, discord.abc.GuildChannel):
        return (channel.id,) if channel.category_id is None else (channel.category_id, channel.id)
    return ()


def is_age_restricted(channel: object) -> bool:
    """Tell whether a channel, or the one of a thread, is age-restricted."""
    is_nsfw = getattr(channel, "is_nsfw", None)
    return is_nsfw is not None and bool(is_nsfw())


def _missing(interaction: discord.Interaction[FluxBot]) -> tuple[str, ...]:
    """Return what the bot may not do here, of what a public answer needs."""
    if interaction.guild_id is None:
        return ()
    granted = interaction.app_permissions
    needed = dict(NEEDED)
    if isinstance(interaction.channel, discord.Thread):
        needed["send_messages_in_threads"] = needed.pop("send_messages")
    return tuple(_(said) for name, said in needed.items() if not getattr(granted, name))
