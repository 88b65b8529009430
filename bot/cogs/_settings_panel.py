"""The panel of `/settings panel`: pages of settings, each with a control that saves at once.

All that a control needs stands in its id, and a panel is drawn anew from the database at every
click: it outlives the process, and two moderators may each have one open.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Self, cast

import discord
from discord.ui import ActionRow, Container, LayoutView, Separator, TextDisplay

from bot.client import FluxBot, answering, language_of
from bot.cogs._settings_modal import SettingModal
from bot.cogs._settings_place import Place, check_user, clipped, place_of, settings_at
from bot.cogs._settings_rows import Panel, Plain, chosen_value, rows
from bot.colours import ACCENT
from bot.files import disk_use
from bot.i18n import N_, _, speak
from bot.settings import Key, key_of
from bot.units import format_bytes

LIMITS_OF_USE = N_("Limits of use")
DISK_PAGE = "Language and archive"


class Control(
    discord.ui.DynamicItem[Plain],
    template=(
        r"settings:(?P<verb>[a-z]+):(?P<subject>\w+)"
        r":(?P<channel_id>[0-8]?\d{1,18}):(?P<user_id>\d{1,20})"
    ),
):
    """A button or select of a panel, for the member who opened it."""

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls, interaction: discord.Interaction[FluxBot], item: Plain, match: re.Match[str]
    ) -> Self:
        """Rebuild the control from a message, whichever process sent it."""
        return cls(item)

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Act on the panel."""
        async with answering(interaction):
            await self._act(interaction)

    async def _act(self, interaction: discord.Interaction[FluxBot]) -> None:
        named = self.template.fullmatch(self.custom_id)
        assert named is not None
        check_user(interaction, int(named["user_id"]))
        panel = panel_of(interaction, int(named["channel_id"]))
        chosen: list[str] = cast(dict[str, Any], interaction.data).get("values", [])
        if named["verb"] == "page":
            await interaction.response.defer()
            await show(interaction, panel, "".join(chosen))
            return
        key = key_of(named["subject"])
        match named["verb"]:
            case "change":
                await self._ask(interaction, panel, key)
            case "choose":
                await save(panel, key, interaction, chosen_value(key.kind, chosen))
            case "reset":
                await save(panel, key, interaction, None)
            case "on" | "off" as verb:
                await save(panel, key, interaction, verb == "on")

    async def _ask(self, interaction: discord.Interaction[FluxBot], panel: Panel, key: Key) -> None:
        settings = await settings_at(interaction.client, panel.place)
        value = settings[key.name].value
        changed = partial(save, panel, key)
        modal = SettingModal(key, value, f"{self.custom_id}:typed", changed)
        await interaction.response.send_modal(modal)


def panel_of(interaction: discord.Interaction[FluxBot], channel_id: int) -> Panel:
    """Return the panel of who asks, for the server or one of its channels."""
    assert interaction.guild is not None
    return Panel(
        user_id=interaction.user.id,
        guild=interaction.guild,
        place=place_of(interaction, channel_id),
    )


async def save(
    panel: Panel, key: Key, interaction: discord.Interaction[FluxBot], value: Any
) -> None:
    """Set one setting, or take it back with None, and show the panel with it."""
    check_user(interaction, panel.user_id)  # a modal may have been open for long
    await interaction.response.defer()
    assert interaction.message is not None
    bot, place = interaction.client, panel.place
    async with bot.panel_turns.setdefault(interaction.message.id, asyncio.Lock()):
        await bot.storage.settings.change(
            place.guild_id, place.channel_id, {key.name: value}, user_id=interaction.user.id
        )
        speak(await language_of(interaction))  # which may be what has changed
        await show(interaction, panel, _page(key))


async def show(interaction: discord.Interaction[FluxBot], panel: Panel, page: str) -> None:
    """Draw a page of a panel as its settings are now, in the message that is acknowledged."""
    bot = interaction.client
    settings = await settings_at(bot, panel.place)
    pages = _pages(panel.place)
    page = page if page in pages else next(iter(pages))
    container: Container[Any] = Container(
        TextDisplay(await _header(bot, panel)),
        ActionRow(Control(_page_select(panel, pages, page))),
        Separator(),
        accent_colour=ACCENT,
    )
    for key in pages[page]:
        for item in rows(panel, settings[key.name], Control):
            container.add_item(item)
    if page == DISK_PAGE:
        used = format_bytes(await asyncio.to_thread(disk_use, bot.settings.data_dir))
        told = _("The bot's data take {size} on its disk.", size=used)
        container.add_item(Separator())
        container.add_item(TextDisplay(f"-# {told}"))
    view = LayoutView(timeout=None).add_item(container)
    await interaction.edit_original_response(view=view)


def _pages(place: Place) -> Mapping[str, list[Key]]:
    pages: dict[str, list[Key]] = {}
    for key in place.keys.values():
        pages.setdefault(_page(key), []).append(key)
    return pages


def _page(key: Key) -> str:
    """Return the page of a setting; all limits are more than one page has room for."""
    return LIMITS_OF_USE if key.page == "Limits" and not key.per_channel else key.page


def _page_select(panel: Panel, pages: Mapping[str, Iterable[Key]], page: str) -> Plain:
    options = [
        discord.SelectOption(
            label=_(name),
            value=name,
            description=clipped(", ".join(key.noun for key in keys), 100),
            default=name == page,
        )
        for name, keys in pages.items()
    ]
    return discord.ui.Select(custom_id=panel.custom_id("page", "page"), options=options)


async def _header(bot: FluxBot, panel: Panel) -> str:
    if panel.place.channel_ids:
        what = str(panel.place)
        scope = _("What is not set here is as in its category or the server.")
    else:
        what = discord.utils.escape_markdown(panel.guild.name)
        channels = await bot.storage.settings.channels(panel.guild.id)
        others = clipped(" ".join(f"<#{each}>" for each in channels), 300)
        scope = _("They hold in all channels.")
        if others:
            scope = _(
                "Set otherwise in {channels}: see `/settings panel channel:`.", channels=others
            )
    title, saved = _("Settings of {place}", place=what), _("Changes are saved at once.")
    return f"### {title}\n-# {saved} {scope}"
