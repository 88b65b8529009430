"""`/history`: what was asked for before, to be shown again, made again, or deleted.

All that its buttons need is in their custom_ids. These may be old or forged: every press looks
again at what is in the sight of who presses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self, cast

import discord
from discord import app_commands
from discord.ext import commands

from bot.client import FluxBot, answering
from bot.cogs._history_view import (
    PAGE,
    PLACE,
    TEXT,
    Place,
    Whose,
    job_message,
    number,
    option,
    page_message,
)
from bot.cogs._pressed import chosen, inputs_of
from bot.cogs._sight import moderators_sight, own_sight
from bot.cogs._submit import acknowledge, submit
from bot.errors import JobError, Refused
from bot.history import Sight
from bot.i18n import N_, _
from bot.inference.regions import encodable
from bot.inference.tools import TOOLS
from bot.looks import shown
from bot.records import Job
from bot.thumbnails import thumbnails

Verb = Literal["older", "newer", "back", "job", "show", "again", "ask", "delete"]

LABELS: Mapping[Verb, str] = {
    "older": N_("More"),
    "newer": N_("Back"),
    "back": N_("To the list"),
    "job": N_("Keep it"),
    "show": N_("Show"),
    "again": N_("Use again"),
    "ask": N_("Delete"),
    "delete": N_("Delete for good"),
}

NUMBER = re.compile(r"\d{1,19}")

SMALL = 256
"""Pixels of the longer side of a picture on a page."""
LARGE = 512
"""Pixels of one beside its job."""
MOST_PICTURES = 4

QUESTION = N_("Its pictures, its prompt and the images that were attached are deleted for good.")
NOT_KEPT = N_(
    "The pictures of job {id} are not kept any more. Use again makes them anew from the same seed."
)
DELETED = N_("Job {id} is deleted.")
NO_PICTURES = N_("Job {id} made no pictures. Use again asks for them once more.")
NOT_THEIRS = N_("Another member attached images to this, which stay theirs.")
ATTACH = N_("Attach images of your own to a new command.")


class History(commands.Cog):
    """The command `/history`."""

    @app_commands.command()
    @app_commands.describe(
        tool="only what was made with this",
        text="only prompts with these words",
        whose="yours, or for moderators what is public in this server",
        here="only this channel",
    )
    @app_commands.choices(
        tool=[app_commands.Choice(name=tool.title, value=name) for name, tool in TOOLS.items()]
    )
    async def history(
        self,
        interaction: discord.Interaction[FluxBot],
        tool: str | None = None,
        text: app_commands.Range[str, 1, TEXT] | None = None,
        whose: Whose = "mine",
        here: bool = False,
    ) -> None:
        """See what you have made before, and show it, make it again or delete it."""
        place = Place(whose=whose, here=here, tool=tool, text=encodable(text or "").strip())
        sight(interaction, place)  # who may not is told so before anything is looked for
        await acknowledge(interaction, private=True)
        await _show_page(interaction, place)


class HistoryButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.LayoutView]],
    template=rf"past:(?P<verb>{'|'.join(LABELS)}):(?P<job>\d{{1,19}}):{PLACE}",
):
    """A button of a page, which turns it, or of a job; the job's number is 0 on a page."""

    def __init__(self, verb: Verb, job_id: int, place: Place, *, disabled: bool = False) -> None:
        style = discord.ButtonStyle.secondary
        if verb in ("ask", "delete"):
            style = discord.ButtonStyle.danger
        super().__init__(
            discord.ui.Button(
                label=_(LABELS[verb]),
                style=style,
                custom_id=f"past:{verb}:{job_id}:{place}",
                disabled=disabled,
            )
        )
        self._verb = verb
        self._job_id = job_id
        self._place = place

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[discord.ui.LayoutView],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(cast(Verb, match["verb"]), number(match["job"]), Place.from_match(match))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Act."""
        async with answering(interaction):
            await _act(interaction, self._verb, self._job_id, self._place)


class HistorySelect(
    discord.ui.DynamicItem[discord.ui.Select[discord.ui.LayoutView]],
    template=rf"past:choose:{PLACE}",
):
    """Chooses one of the jobs of a page."""

    def __init__(self, place: Place, options: list[discord.SelectOption]) -> None:
        super().__init__(
            discord.ui.Select(
                placeholder=_("Choose one"), custom_id=f"past:choose:{place}", options=options
            )
        )
        self._place = place

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Select[discord.ui.LayoutView],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the select from a message, whichever process sent it."""
        return cls(Place.from_match(match), item.options)

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Show the job that was chosen."""
        async with answering(interaction):
            choice = chosen(interaction)
            if not NUMBER.fullmatch(choice):
                raise JobError(_("This is no job. Please choose one of the list."))
            await _act(interaction, "job", number(choice), self._place)


def sight(interaction: discord.Interaction[FluxBot], place: Place) -> Sight:
    """Return what may be seen in a history; raise Refused."""
    if place.whose == "server":
        return moderators_sight(interaction)
    return own_sight(interaction)


async def _act(
    interaction: discord.Interaction[FluxBot], verb: Verb, job_id: int, place: Place
) -> None:
    seen = sight(interaction, place)
    if verb in ("older", "newer", "back"):
        await interaction.response.defer()
        await _show_page(interaction, place, before=verb == "newer")
        return
    job = await interaction.client.storage.history.find(seen, job_id)
    match verb:
        case "job":
            again: tuple[Verb, ...] = ("again",) if _may_use_again(interaction, job) else ()
            await _show_job(interaction, job, place, "show", *again, "ask", "back")
        case "show":
            await _show_result(interaction, job)
        case "again":
            await _make_again(interaction, job)
        case "ask":
            await _show_job(interaction, job, place, "delete", "job", note=_(QUESTION))
        case "delete":
            await _delete(interaction, job, place)


async def _show_page(
    interaction: discord.Interaction[FluxBot], place: Place, *, before: bool = False, note: str = ""
) -> None:
    """Show the page that begins at a place, or the one `before` it."""
    storage = interaction.client.storage
    seen, search = sight(interaction, place), place.search(interaction.channel_id)
    if before:
        page = await storage.history.page_before(seen, search, start=place.start, count=PAGE)
    else:
        start = place.start or None
        page = await storage.history.page(seen, search, start=start, count=PAGE)
    small = [
        each for job in page.jobs for each in await thumbnails(storage, job, side=SMALL, at_most=1)
    ]
    rows = []
    if page.jobs:
        place = place.at(page.jobs[0].id if page.has_newer else 0)
        chooser = HistorySelect(place, [option(job) for job in page.jobs])
        rows.append(_row(chooser))
    if page.has_newer or page.has_older:
        next_start = page.jobs[-1].id - 1 if page.jobs else 0
        rows.append(
            _row(
                HistoryButton("newer", 0, place, disabled=not page.has_newer),
                HistoryButton("older", 0, place.at(next_start), disabled=not page.has_older),
            )
        )
    await interaction.edit_original_response(**page_message(place, page, small, rows, note))


async def _show_job(
    interaction: discord.Interaction[FluxBot],
    job: Job,
    place: Place,
    *verbs: Verb,
    note: str = "",
) -> None:
    await interaction.response.defer()
    storage = interaction.client.storage
    large = await thumbnails(storage, job, side=LARGE, at_most=MOST_PICTURES)
    row = _row(*(HistoryButton(verb, job.id, place) for verb in verbs))
    await interaction.edit_original_response(**job_message(job, large, [row], note))


async def _show_result(interaction: discord.Interaction[FluxBot], job: Job) -> None:
    await acknowledge(interaction, private=True)
    await interaction.edit_original_response(**await result_arguments(interaction, job))


async def result_arguments(interaction: discord.Interaction[FluxBot], job: Job) -> dict[str, Any]:
    """Return the arguments of an edit that shows a result again; raise JobError without one."""
    storage = interaction.client.storage
    if job.outcome is None:
        raise JobError(_(NO_PICTURES, id=job.id))
    if not await storage.history.has_pictures(job.id):
        raise JobError(_(NOT_KEPT, id=job.id))
    result = await storage.result(job)
    return (await shown(job, result, interaction.filesize_limit)).arguments()


def _may_use_again(interaction: discord.Interaction[FluxBot], job: Job) -> bool:
    """Tell whether a job is one's own, or made without images, which say more than its pictures."""
    return job.origin.user_id == interaction.user.id or not job.inputs


async def _make_again(interaction: discord.Interaction[FluxBot], job: Job) -> None:
    """Submit the request of a job once more, in the name of who presses."""
    if not _may_use_again(interaction, job):
        raise Refused(_(NOT_THEIRS), _(ATTACH))

    async def images() -> Mapping[str, bytes]:
        return await inputs_of(interaction, job)

    await submit(
        interaction,
        job.request,
        private=True if job.origin.private else None,
        spoiler=job.origin.spoiler,
        images=images,
        repeats=job.id,
    )


async def _delete(interaction: discord.Interaction[FluxBot], job: Job, place: Place) -> None:
    await interaction.response.defer()
    await erase(interaction.client, job)
    await _show_page(interaction, place, note=_(DELETED, id=job.id))


async def erase(bot: FluxBot, job: Job) -> None:
    """Delete a job for good, and have its messages follow; raise JobError while it is not over."""
    await bot.storage.disposal.delete(job.id)
    await bot.storage.disposal.forget()
    bot.removals.begin([job])


def _row(*items: discord.ui.Item[Any]) -> discord.ui.ActionRow[Any]:
    return discord.ui.ActionRow(*items)


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(History())
