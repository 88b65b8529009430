"""`/help`: what each tool is for, with an example of it, and what a member may do here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands
from discord.ui import ActionRow, LayoutView

from bot.client import FluxBot, answering
from bot.cogs._help_pages import here, page_of, topics
from bot.cogs._help_texts import BUTTONS, LIMITS, OVERVIEW, TITLES
from bot.cogs._pressed import chosen
from bot.cogs._submit import acknowledge
from bot.i18n import N_, _

LABELS = {OVERVIEW: N_("All tools"), BUTTONS: N_("Buttons"), LIMITS: N_("Limits")}
"""Of what is no command."""


class Help(commands.Cog):
    """The command `/help`."""

    @app_commands.command()
    @app_commands.describe(topic="One tool, the buttons of a picture, or your limits")
    async def help(self, interaction: discord.Interaction[FluxBot], topic: str = OVERVIEW) -> None:
        """See what each tool is for, and what you may do here."""
        await acknowledge(interaction, private=True)
        await _show(interaction, topic)


class TopicSelect(discord.ui.DynamicItem[discord.ui.Select[LayoutView]], template=r"help:topic"):
    """Chooses another page of the help, as it is when it is chosen."""

    def __init__(self, options: list[discord.SelectOption]) -> None:
        super().__init__(discord.ui.Select(custom_id="help:topic", options=options))

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Select[LayoutView],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the select from a message, whichever process sent it."""
        return cls(item.options)

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Show the page that was chosen."""
        async with answering(interaction):
            await interaction.response.defer()
            await _show(interaction, chosen(interaction))


async def _show(interaction: discord.Interaction[FluxBot], topic: str) -> None:
    place = await here(interaction)
    page = await page_of(place, topic)
    view = LayoutView(timeout=None).add_item(page.container())
    view.add_item(ActionRow(TopicSelect(_choices(topics(place), topic))))
    await interaction.edit_original_response(view=view, attachments=page.files)


def _choices(offered: Sequence[str], chosen: str) -> list[discord.SelectOption]:
    chosen = chosen if chosen in offered else OVERVIEW
    return [
        discord.SelectOption(
            label=_(LABELS[topic]) if topic in LABELS else f"/{topic}",
            description=_(TITLES[topic]),
            value=topic,
            default=topic == chosen,
        )
        for topic in offered
    ]


async def setup(bot: FluxBot) -> None:
    """Add the command, with the tools that the family of weights has as its topics."""
    cog = Help()
    tools = {tool.command: f"/{tool.command}: " for tool in bot.family.tools().values()}
    app_commands.choices(
        topic=[
            app_commands.Choice(
                name=locale_str(before + TITLES[topic], word=TITLES[topic]), value=topic
            )
            for topic, before in {**tools, BUTTONS: "", LIMITS: ""}.items()
        ]
    )(cog.help)
    await bot.add_cog(cog)
