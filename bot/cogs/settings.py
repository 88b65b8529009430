"""`/settings`: what a server decides for itself, in a panel, by name, from a file, with its log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

import discord
from discord import AppCommandOptionType, ChannelType, app_commands
from discord.app_commands import AppCommandChannel, AppCommandThread, Choice
from discord.ext import commands

from bot.client import FluxBot, answering
from bot.cogs._settings_file import check_size, export_file, read_file, strangers
from bot.cogs._settings_log import show_log
from bot.cogs._settings_panel import panel_of, show
from bot.cogs._settings_place import (
    Place,
    Setting,
    check_user,
    clipped,
    place_of,
    settings_at,
)
from bot.cogs._submit import acknowledge
from bot.i18n import _, counted
from bot.setting_kinds import OneOf, Several, Switch
from bot.settings import KEYS, PAGES, Key, key_of
from bot.settings_store import WHOLE_SERVER

CHOICES = 25
"""What Discord shows at once of an option's choices."""
LONGEST_CHOICE = 100
"""Characters of a choice that Discord takes."""
SHOWN = 700
"""Characters of a value in an answer."""

PLACE = "This channel or category alone; without it, the whole server"


class ChannelId(app_commands.Transformer):
    """Where settings may differ, as an id."""

    @property
    def type(self) -> AppCommandOptionType:
        """What members choose."""
        return AppCommandOptionType.channel

    @property
    def channel_types(self) -> list[ChannelType]:
        """All that the bot may be used in, and categories of them."""
        return [
            ChannelType.category,
            *(ChannelType.text, ChannelType.news, ChannelType.forum),
            *(ChannelType.voice, ChannelType.stage_voice),
            *(ChannelType.public_thread, ChannelType.private_thread, ChannelType.news_thread),
        ]

    async def transform(  # type: ignore[override]
        self,
        interaction: discord.Interaction[FluxBot],
        value: AppCommandChannel | AppCommandThread,
    ) -> int:
        """Return the id of a channel."""
        return value.id


Channel = app_commands.Transform[int, ChannelId]


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
class Settings(commands.GroupCog, group_name="settings", group_description="Set up the bot"):
    """The commands of `/settings`, for those who manage the server, or whom it lets."""

    def __init__(self, bot: FluxBot) -> None:
        self._bot = bot

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """Forget what was set for a channel that is gone."""
        await self._forget(channel.guild.id, channel.id)

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, event: discord.RawThreadDeleteEvent) -> None:
        """Forget what was set for a thread that is gone."""
        await self._forget(event.guild_id, event.thread_id)

    async def _forget(self, guild_id: int, channel_id: int) -> None:
        assert self._bot.user is not None
        store = self._bot.storage.settings
        await store.reset(guild_id, channel_id, user_id=self._bot.user.id)

    @app_commands.command()
    @app_commands.describe(channel=PLACE)
    async def panel(
        self, interaction: discord.Interaction[FluxBot], channel: Channel = WHOLE_SERVER
    ) -> None:
        """See and change all settings."""
        await acknowledge(interaction, private=True)
        await show(interaction, panel_of(interaction, channel), PAGES[0])

    @app_commands.command()
    @app_commands.describe(key="Which setting", value="What it shall be", channel=PLACE)
    async def set(
        self,
        interaction: discord.Interaction[FluxBot],
        key: str,
        value: str,
        channel: Channel = WHOLE_SERVER,
    ) -> None:
        """Change one setting."""
        chosen = _key(key)
        await _change(interaction, channel, chosen, chosen.kind.parse(value))

    @app_commands.command()
    @app_commands.describe(key="Which setting; without it, all", channel=PLACE)
    async def reset(
        self,
        interaction: discord.Interaction[FluxBot],
        key: str | None = None,
        channel: Channel = WHOLE_SERVER,
    ) -> None:
        """Take one setting back, or all of them."""
        if key is not None:
            await _change(interaction, channel, _key(key), None)
            return
        await acknowledge(interaction, private=True)
        place = place_of(interaction, channel)
        overrides = await interaction.client.storage.settings.overrides(
            place.guild_id, place.channel_id
        )
        if not overrides:
            await interaction.edit_original_response(
                content=_("Nothing is set for {place}.", place=place)
            )
            return
        names = ", ".join(KEYS[name].noun for name in overrides)
        view = discord.ui.View(timeout=None)
        view.add_item(ResetAll(place.channel_id, interaction.user.id))
        await interaction.edit_original_response(
            content=_(
                "Set for {place}: {settings}. Shall all of it be reset?",
                place=place,
                settings=names,
            ),
            view=view,
        )

    @app_commands.command()
    async def log(self, interaction: discord.Interaction[FluxBot]) -> None:
        """See who changed what."""
        await acknowledge(interaction, private=True)
        await show_log(interaction, page=0)

    @app_commands.command()
    async def export(self, interaction: discord.Interaction[FluxBot]) -> None:
        """Get all settings as a file, to keep them or to import them elsewhere."""
        await acknowledge(interaction, private=True)
        file = await export_file(interaction)
        await interaction.edit_original_response(
            content=_("These are the settings of the server and its channels."),
            attachments=[file],
        )

    @app_commands.command(name="import")
    @app_commands.describe(file="What `/settings export` has written, here or elsewhere")
    async def import_(
        self, interaction: discord.Interaction[FluxBot], file: discord.Attachment
    ) -> None:
        """Replace all settings by those of a file."""
        check_size(file)
        await acknowledge(interaction, private=True)
        exported = await read_file(file)
        assert interaction.guild is not None
        changes = await interaction.client.storage.settings.replace_all(
            interaction.guild.id, exported, user_id=interaction.user.id
        )
        said = [
            counted("{n} setting has changed.", "{n} settings have changed.", len(changes))
            if changes
            else _("No settings have changed.")
        ]
        if foreign := strangers(interaction.guild, changes):
            said.append(
                _(
                    "These name channels or roles that are not in this server: {settings}."
                    " Please look at them in `/settings panel`.",
                    settings=", ".join(foreign),
                )
            )
        await interaction.edit_original_response(content=" ".join(said))

    @set.autocomplete("key")
    @reset.autocomplete("key")
    async def suggest_keys(
        self, interaction: discord.Interaction[FluxBot], typed: str
    ) -> list[Choice[str]]:
        """Offer the settings, by name and by what they do."""
        place = _place_so_far(interaction)
        names = {}
        for name, key in place.keys.items():
            told = _("{setting}: {purpose}", setting=key.title, purpose=_(key.description))
            names[told[:LONGEST_CHOICE]] = name
        return _choices(names, typed)

    @set.autocomplete("value")
    async def suggest_values(
        self, interaction: discord.Interaction[FluxBot], typed: str
    ) -> list[Choice[str]]:
        """Offer what a setting may be, or what it is, to be edited."""
        place = _place_so_far(interaction)
        settings = await settings_at(interaction.client, place)
        setting = settings.get(_name(interaction.namespace.key or ""))
        return [] if setting is None else _choices(_offered(setting), typed)


class ResetAll(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"settings_reset:(?P<channel_id>[0-8]?\d{1,18}):(?P<user_id>\d{1,20})",
):
    """Takes all settings of a server or a channel back, for the member who was asked."""

    def __init__(self, channel_id: int, user_id: int) -> None:
        super().__init__(
            discord.ui.Button(
                label=_("Reset all"),
                style=discord.ButtonStyle.danger,
                custom_id=f"settings_reset:{channel_id}:{user_id}",
            )
        )
        self._channel_id = channel_id
        self._user_id = user_id

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[discord.ui.View],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(int(match["channel_id"]), int(match["user_id"]))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Reset, and say how much that was."""
        async with answering(interaction):
            check_user(interaction, self._user_id)
            await interaction.response.defer()
            place = place_of(interaction, self._channel_id)
            changes = await interaction.client.storage.settings.reset(
                place.guild_id, place.channel_id, user_id=interaction.user.id
            )
            text = _("No settings have been reset for {place}.", place=place)
            if changes:
                text = counted(
                    "{n} setting has been reset for {place}.",
                    "{n} settings have been reset for {place}.",
                    len(changes),
                    place=place,
                )
            await interaction.edit_original_response(content=text, view=None)


async def _change(
    interaction: discord.Interaction[FluxBot], channel_id: int, key: Key, value: Any
) -> None:
    """Set one setting, or take it back with None, and answer with what it was and is."""
    await acknowledge(interaction, private=True)
    place, store = place_of(interaction, channel_id), interaction.client.storage.settings
    before = await settings_at(interaction.client, place)
    await store.change(
        place.guild_id, place.channel_id, {key.name: value}, user_id=interaction.user.id
    )
    after = (await settings_at(interaction.client, place))[key.name]
    text = _(
        "**{setting}** for {place}: {change}.",
        setting=key.title,
        place=place,
        change=_compared(before[key.name], after),
    )
    await interaction.edit_original_response(content=f"{text} {after.warning}".rstrip())


def _compared(before: Setting, after: Setting) -> str:
    old, new = clipped(before.shown, SHOWN), clipped(after.shown, SHOWN)
    if before == after:
        return _("{value} as before ({source})", value=new, source=after.source)
    return f"{old} ({before.source}) → {new} ({after.source})"


def _place_so_far(interaction: discord.Interaction[FluxBot]) -> Place:
    """Return the place of a command that is still being typed."""
    channel = interaction.namespace.channel
    return place_of(interaction, channel.id if channel else WHOLE_SERVER)


def _name(typed: str) -> str:
    """Return the name of a setting that was typed as it is, or as it is shown."""
    name = typed.strip().lower()
    shown = {key.noun.lower(): key.name for key in KEYS.values()}
    return shown.get(name, name.replace(" ", "_"))


def _key(typed: str) -> Key:
    return key_of(_name(typed))


def _offered(setting: Setting) -> Mapping[str, str]:
    """Return values to choose from, as they are shown and as they are typed."""
    kind, typed = setting.key.kind, setting.key.kind.edit(setting.value)
    match kind:
        case Switch():
            return {kind.show(value): kind.edit(value) for value in (True, False)}
        case OneOf():
            return {kind.label(each): each for each in kind.typed}
        case Several():
            as_now = {kind.show(setting.value): typed}
            names = {each: each for each in kind.options}
            return as_now | {kind.show(kind.options): "all"} | names
        case _:
            return {typed: typed}


def _choices(offered: Mapping[str, str], typed: str) -> list[Choice[str]]:
    """Return the choices that hold what was typed, as far as Discord takes them."""
    return [
        Choice(name=name, value=value)
        for name, value in offered.items()
        if typed.lower() in f"{name}\n{value}".lower()
        and max(len(name), len(value)) <= LONGEST_CHOICE
    ][:CHOICES]


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(Settings(bot))
