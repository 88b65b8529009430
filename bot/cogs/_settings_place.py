"""Where settings hold, what holds there, and who may touch a panel of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import discord

from bot.client import FluxBot
from bot.cogs._visit import channel_ids
from bot.errors import Refused
from bot.i18n import _
from bot.inference.tools import TOOLS
from bot.settings import KEYS, Key, ServerSettings
from bot.settings_store import WHOLE_SERVER

NO_MESSAGES = (discord.CategoryChannel, discord.ForumChannel)
LEFT_OPEN = timedelta(hours=1)
"""How long a panel works for members whom Discord lets use `/settings` though they do not manage
the server: it does not say when that ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A server, or one of its channels, named last after the category or channel it lies in."""

    guild_id: int
    channel_ids: tuple[int, ...] = ()

    @property
    def channel_id(self) -> int:
        """The channel, or what stands for the whole server."""
        return self.channel_ids[-1] if self.channel_ids else WHOLE_SERVER

    @property
    def keys(self) -> Mapping[str, Key]:
        """What can be set there, by name."""
        return {name: key for name, key in KEYS.items() if key.per_channel or not self.channel_ids}

    def __str__(self) -> str:
        return f"<#{self.channel_id}>" if self.channel_ids else _("the server")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a setting is in a place; `source` says where that comes from, `here` if it is there.

    `warning` is a sentence where it does not do what it seems to.
    """

    key: Key
    value: Any
    source: str
    here: bool
    warning: str = ""

    @property
    def shown(self) -> str:
        """The value as people read it."""
        return self.key.kind.show(self.value)


def place_of(interaction: discord.Interaction[FluxBot], channel_id: int = WHOLE_SERVER) -> Place:
    """Return the server of an interaction, or a channel of it."""
    assert interaction.guild is not None
    guild = interaction.guild
    if channel_id == WHOLE_SERVER:
        return Place(guild_id=guild.id)
    ids = channel_ids(guild.get_channel_or_thread(channel_id))
    return Place(guild_id=guild.id, channel_ids=ids or (channel_id,))


async def settings_at(bot: FluxBot, place: Place) -> Mapping[str, Setting]:
    """Return all that can be set in a place, by name, with what holds there."""
    store = bot.storage.settings
    effective = await store.at(place.guild_id, *place.channel_ids)
    levels = {
        channel_id: await store.overrides(place.guild_id, channel_id)
        for channel_id in (WHOLE_SERVER, *place.channel_ids)
    }
    settings = {}
    for name, key in place.keys.items():
        set_in = [channel_id for channel_id, values in levels.items() if name in values]
        settings[name] = Setting(
            key=key,
            value=getattr(effective, name),
            source=_source(place, set_in[-1]) if set_in else _("default"),
            here=place.channel_id in set_in,
            warning=_warning(bot, place, effective, name),
        )
    return settings


def _warning(bot: FluxBot, place: Place, settings: ServerSettings, name: str) -> str:
    """Return what is amiss with a setting although it is one, if anything is."""
    match name:
        case "model" | "tools" if settings.model not in settings.tools:
            title = TOOLS[settings.model].title
            return _("{model} is the default of /generate, and is not on.", model=title)
        case "classifier" if settings.classifier != "off" and bot.settings.classifier is None:
            return _("The operator has set no CLASSIFIER, so nothing is painted.")
        case "archive_channel" if settings.archive_channel is not None:
            guild = bot.get_guild(place.guild_id)
            if guild is None:
                return ""
            channel = guild.get_channel_or_thread(settings.archive_channel)
            if channel is None or isinstance(channel, NO_MESSAGES):
                return _("This is no channel of the server that has messages.")
            granted = channel.permissions_for(guild.me)
            if not (granted.send_messages and granted.attach_files and granted.embed_links):
                return _("The bot may not post pictures there.")
    return ""


def _source(place: Place, channel_id: int) -> str:
    if channel_id == WHOLE_SERVER:
        return _("set for the server")
    if channel_id == place.channel_id:
        return _("set for this channel")
    return _("set in {channel}", channel=f"<#{channel_id}>")


def check_user(interaction: discord.Interaction[FluxBot], user_id: int) -> None:
    """Raise Refused unless this member opened what was clicked, and may still use it."""
    if interaction.user.id != user_id:
        raise Refused(
            _("Only the member who opened these settings can use them."),
            _("Open your own with `/settings panel`."),
        )
    assert interaction.message is not None
    age = interaction.created_at - interaction.message.created_at
    if age > LEFT_OPEN and not interaction.permissions.manage_guild:
        raise Refused(
            _("This was left open for long."), _("Open it once more with `/settings panel`.")
        )


def clipped(text: str, limit: int) -> str:
    """Return text that is short enough, if need be without what comes last in it."""
    if len(text) <= limit:
        return text
    start = text[: limit - 2]
    whole = start.rpartition(", ")[0] or start.rpartition(" ")[0] or start
    return f"{whole} …"
