"""`/settings log`: who changed what, from what to what, the latest first."""

from __future__ import annotations

import re
from typing import Any, Self

import discord

from bot.client import FluxBot, answering
from bot.cogs._settings_place import check_user, clipped
from bot.colours import ACCENT
from bot.i18n import _
from bot.settings import KEYS, Key
from bot.settings_store import WHOLE_SERVER, Change

PAGE = 10
"""Changes on a page."""
SHOWN = 100
"""Characters of a value."""


class LogPage(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"settings_log:(?P<page>\d{1,9}):(?P<user_id>\d{1,20})",
):
    """Shows another page of the log, as it is when it is pressed."""

    def __init__(
        self, page: int, user_id: int, label: str = "Page", *, disabled: bool = False
    ) -> None:
        custom_id = f"settings_log:{page}:{user_id}"
        super().__init__(discord.ui.Button(label=label, custom_id=custom_id, disabled=disabled))
        self._page = page
        self._user_id = user_id

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[discord.ui.View],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(int(match["page"]), int(match["user_id"]))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Turn the page."""
        async with answering(interaction):
            check_user(interaction, self._user_id)
            await interaction.response.defer()
            await show_log(interaction, self._page)


async def show_log(interaction: discord.Interaction[FluxBot], page: int) -> None:
    """Show a page of the changes in the message that is acknowledged."""
    assert interaction.guild_id is not None
    store = interaction.client.storage.settings
    changes = await store.log(interaction.guild_id, count=PAGE + 1, skip=page * PAGE)
    more = len(changes) > PAGE
    embed = discord.Embed(
        title=_("Changes of the settings"),
        colour=ACCENT,
        description="\n".join(map(_line, changes[:PAGE])) or _("Nothing has been changed yet."),
    )
    view = None
    if page or more:
        view = discord.ui.View(timeout=None)
        user_id = interaction.user.id
        view.add_item(LogPage(max(0, page - 1), user_id, _("Back"), disabled=page == 0))
        view.add_item(LogPage(page + 1, user_id, _("More"), disabled=not more))
    await interaction.edit_original_response(embed=embed, view=view)


def _line(change: Change) -> str:
    key = KEYS.get(change.key)
    what = (
        f"**{key.title}** {_shown(key, change.old)} → {_shown(key, change.new)}"
        if key
        else _("`{name}`, which this version does not know", name=change.key)
    )
    if change.channel_id != WHOLE_SERVER:
        what = _("{change} in {channel}", change=what, channel=f"<#{change.channel_id}>")
    return f"<t:{change.changed_at:.0f}:R> <@{change.user_id}>: {what}"


def _shown(key: Key, value: Any) -> str:
    return _("default") if value is None else clipped(key.kind.show(value), SHOWN)
