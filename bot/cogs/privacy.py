"""`/privacy`: what is stored about who asks, all of it as files, and its deletion for good."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Literal, Self, cast

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot, answering
from bot.cogs._submit import acknowledge
from bot.colours import ACCENT, QUIET
from bot.errors import Refused
from bot.export import Export, pack, plan
from bot.i18n import N_, _, counted
from bot.ladder import FAULTS
from bot.messages import joined
from bot.personal import Held, Summary
from bot.records import DEFAULT_FILESIZE_LIMIT
from bot.thumbnails import hidden
from bot.units import format_bytes

Verb = Literal["export", "ask", "delete", "keep"]

LABELS: Mapping[Verb, str] = {
    "export": N_("Export"),
    "ask": N_("Delete"),
    "delete": N_("Delete everything"),
    "keep": N_("Keep it"),
}

KINDS = N_(
    """Your prompts and options, the images that you attached, the pictures and how long they \
took: for as long as is said beside each server, or until you delete them. Where room is short, \
old files go sooner. Messages have their copies of pictures: these are Discord's.
A mask that is being looked at is kept for ten minutes, how many seconds of the GPU you used for \
30 days, and which settings you changed for a year. After *Delete* the seconds of the last 24 \
hours keep your id for a day or two, for they still count for your limits.
Prompts are not in the bot's log, unless its operator has it log everything to find a fault. \
Whoever manages a server may have named you in its `banned_members`: that is theirs, and stays."""
)

QUESTION = N_(
    """Your prompts, pictures and attached images are deleted in all servers, for good. \
What waits or is being painted is cancelled, and the bot's messages go as far as Discord lets it \
delete them. Export them first if you want to keep them."""
)

DELETED = N_(
    """Everything about you is deleted, but for one thing: the seconds of the GPU that you \
used in the last 24 hours still count for your limits, so your id stays with them for a day or two.
The bot's messages with your pictures follow, one after the other. What counts for a server stays \
without your name: older seconds of the GPU, and changes of its settings."""
)

CALLED_OFF = N_("Cancelled: its member had all their data deleted.")
SENT = N_("You have it in a direct message.")
CLOSED = N_("Here it is, because your direct messages are closed to the bot.")
REST = N_("Here is what Discord did not take as a direct message.")


class Privacy(commands.Cog):
    """The command `/privacy`."""

    @app_commands.command()
    async def privacy(self, interaction: discord.Interaction[FluxBot]) -> None:
        """See what is stored about you, have it as files, or delete it."""
        await acknowledge(interaction, private=True)
        await interaction.edit_original_response(
            embed=await _report(interaction), view=_buttons("export", "ask")
        )


class PrivacyButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=rf"privacy:(?P<verb>{'|'.join(LABELS)})",
):
    """A button about the data of who presses it, whoever that is."""

    def __init__(self, verb: Verb) -> None:
        dangerous = verb in ("ask", "delete")
        super().__init__(
            discord.ui.Button(
                label=_(LABELS[verb]),
                style=discord.ButtonStyle.danger if dangerous else discord.ButtonStyle.secondary,
                custom_id=f"privacy:{verb}",
            )
        )
        self._verb = verb

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[discord.ui.View],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(cast(Verb, match["verb"]))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Do it."""
        async with answering(interaction):
            match self._verb:
                case "export":
                    await _export(interaction)
                case "ask":
                    embed = discord.Embed(title=_("Delete"), description=_(QUESTION), colour=ACCENT)
                    view = _buttons("delete", "keep")
                    await interaction.response.edit_message(embed=embed, view=view)
                case "delete":
                    await _delete(interaction)
                case "keep":
                    embed = discord.Embed(description=_("Nothing was deleted."), colour=QUIET)
                    await interaction.response.edit_message(embed=embed, view=None)


async def _report(interaction: discord.Interaction[FluxBot]) -> discord.Embed:
    """Return what is kept of a member as they read it."""
    bot = interaction.client
    summary = await bot.storage.personal.summary(interaction.user.id)
    lines = []
    for held in summary.held:
        keep_days = (await bot.storage.settings.at(held.guild_id)).keep_days
        lines.append(_held(bot, held, keep_days))
    embed = discord.Embed(title=_("Stored about you"), description=_(KINDS), colour=ACCENT)
    embed.add_field(name=_("By server"), value=joined(lines) or _("nothing"), inline=False)
    for name, value in _beside(summary).items():
        embed.add_field(name=name, value=value)
    return embed


def _held(client: discord.Client, held: Held, keep_days: int) -> str:
    guild = None if held.guild_id is None else client.get_guild(held.guild_id)
    if held.guild_id is None:
        place = _("Direct messages")
    elif guild is None:
        place = _("Server {id}", id=held.guild_id)
    else:
        place = discord.utils.escape_markdown(guild.name)
    kept = _("kept until they are deleted")
    if keep_days:
        kept = counted("kept for {n} day", "kept for {n} days", keep_days)
    size = format_bytes(held.bytes)
    return _(
        "{place}: {jobs}, {pictures}, since {date}, {kept}",
        place=place,
        jobs=counted("{n} job", "{n} jobs", held.jobs),
        pictures=counted(
            "{n} picture of {size}", "{n} pictures of {size}", held.pictures, size=size
        ),
        date=f"<t:{held.since:.0f}:D>",
        kept=kept,
    )


def _beside(summary: Summary) -> dict[str, str]:
    return {
        _("Attached images"): f"{summary.inputs}, {format_bytes(summary.input_bytes)}",
        _("Previews of masks"): str(summary.drafts),
        _("Entries of GPU seconds"): str(summary.usage),
        _("Changes of settings"): str(summary.changes),
    }


def _buttons(*verbs: Verb) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for verb in verbs:
        view.add_item(PrivacyButton(verb))
    return view


async def _export(interaction: discord.Interaction[FluxBot]) -> None:
    """Put everything together and send it, once at a time for each member."""
    user_id, exporting = interaction.user.id, interaction.client.exporting
    if user_id in exporting:
        raise Refused(
            _("Your export is already being put together."), _("Please wait until you have it.")
        )
    exporting.add(user_id)
    try:
        await acknowledge(interaction, private=True)
        personal = interaction.client.storage.personal
        records, files = await personal.records(user_id), await personal.files(user_id, hidden)
        export = await plan(records, files.paths, DEFAULT_FILESIZE_LIMIT)
        answer = await _send(interaction, export)
    finally:
        exporting.discard(user_id)
    await interaction.edit_original_response(
        content=" ".join([answer, *_missing(files.hidden, export.left_out)])
    )


def _missing(unsafe: int, left_out: int) -> list[str]:
    """Return a sentence for each kind of files that are not in an export."""
    sentences = []
    if unsafe:
        sentences.append(
            counted(
                "Without {n} picture, which a server's classifier considers unsafe.",
                "Without {n} pictures, which a server's classifier considers unsafe.",
                unsafe,
            )
        )
    if left_out:
        sentences.append(
            counted(
                "{n} of your files is too large or one too many for Discord: the operator can give"
                " it to you.",
                "{n} of your files are too large or too many for Discord: the operator can give"
                " them to you.",
                left_out,
            )
        )
    return sentences


async def _send(interaction: discord.Interaction[FluxBot], export: Export) -> str:
    """Send an export by direct message, from a fault on where it was asked for; say which."""
    answer, is_open = SENT, True
    for number, part in enumerate(export.parts, 1):
        text = _(
            "All that is stored about you, part {part} of {parts}.",
            part=number,
            parts=len(export.parts),
        )
        content, filename = await pack(part), f"flux-bot-export-{number}.zip"
        if is_open:
            try:
                file = discord.File(io.BytesIO(content), filename, description=text)
                await interaction.user.send(text, file=file)
                continue
            except FAULTS as error:
                is_open = False
                answer = CLOSED if isinstance(error, discord.Forbidden) else REST
        file = discord.File(io.BytesIO(content), filename, description=text)
        await interaction.followup.send(text, file=file, ephemeral=True)
    return _(answer)


async def _delete(interaction: discord.Interaction[FluxBot]) -> None:
    """Call off what is not over, delete all that there is, and have the messages follow.

    Those that all could see are noted with that; of the others only their jobs tell.
    """
    await interaction.response.defer()
    bot, user_id = interaction.client, interaction.user.id
    await bot.jobs.forget(user_id, CALLED_OFF)
    jobs = await bot.storage.personal.jobs(user_id)
    await bot.storage.personal.delete(user_id)
    bot.removals.begin(jobs)
    embed = discord.Embed(description=_(DELETED), colour=QUIET)
    await interaction.edit_original_response(embed=embed, view=None)


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(Privacy())
