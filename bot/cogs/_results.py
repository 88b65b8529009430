"""What stands below every result: buttons that make something of it, for ever and for anyone.

A `custom_id` holds the job and which of its pictures is meant, counted from 1; 0 are all of them.
Each press looks at the job as it is now: it may have been swept, or deleted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast

import discord

from bot.client import FluxBot, answering
from bot.cogs._follow import (
    ask_to_delete,
    compare,
    delete,
    make_again,
    make_larger,
    show_info,
    show_picture,
    vary,
)
from bot.cogs._follow_modals import ask
from bot.cogs._pressed import chosen, inputs_of, picture_of, pressed_job
from bot.errors import JobError
from bot.followups import Growth, Variation
from bot.i18n import N_, _
from bot.inference.sweeps import labels
from bot.inference.types import Request
from bot.records import Job, Look

Verb = (
    Literal["again", "remix", "edit", "repaint", "compare", "info", "delete", "erase"]
    | Variation
    | Growth
)
Rows = list[list[discord.ui.Item[Any]]]

MOST_OPTIONS = 25
NUMBER = re.compile(r"\d{1,3}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A button: in which row it stands, and what it takes.

    It works with `tool`, None for the picture's own, on `one` picture or on all of a job.
    """

    label: str
    row: int
    tool: str | None = None
    one: bool = True


OFFERS: Mapping[Verb, Offer] = {
    "again": Offer(N_("Again"), 0, one=False),
    "remix": Offer(N_("Remix"), 0, one=False),
    "edit": Offer(N_("Edit"), 0, "kontext"),
    "repaint": Offer(N_("Repaint"), 0, "fill"),
    "subtle": Offer(N_("Vary subtly"), 1, "redux"),
    "strong": Offer(N_("Vary strongly"), 1, "redux"),
    "zoom15": Offer(N_("Zoom out 1.5×"), 2, "fill"),
    "zoom2": Offer(N_("Zoom out 2×"), 2, "fill"),
    "left": Offer(N_("Pan ←"), 3, "fill"),
    "right": Offer(N_("Pan →"), 3, "fill"),
    "up": Offer(N_("Pan ↑"), 3, "fill"),
    "down": Offer(N_("Pan ↓"), 3, "fill"),
    "compare": Offer(N_("Compare"), 4),
    "info": Offer(N_("Info"), 4, one=False),
    "delete": Offer(N_("Delete"), 4, one=False),
    "erase": Offer(N_("Delete for good"), 5, one=False),
}
ROWS = 5
"""Those below a result, each as wide as a phone at most; the next one's is asked for first."""

OF_ALL: Collection[Verb] = {"again", "info", "delete"}
"""What is about all pictures of a job, and so not offered beside one of several."""

MAKES = set(OFFERS) - {"remix", "edit", "repaint", "info", "delete", "erase"}
"""What begins with the press itself, and so must not begin twice."""


class ResultButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=rf"made:(?P<verb>{'|'.join(OFFERS)}):(?P<job_id>\d{{1,18}}):(?P<number>\d{{1,3}})",
):
    """Makes something of a picture, for whoever presses it, under their own name and limits."""

    def __init__(self, verb: Verb, job_id: int, number: int) -> None:
        style = discord.ButtonStyle.secondary
        if verb in ("delete", "erase"):
            style = discord.ButtonStyle.danger
        super().__init__(
            discord.ui.Button(
                label=_(OFFERS[verb].label),
                style=style,
                custom_id=f"made:{verb}:{job_id}:{number}",
            )
        )
        self._verb = verb
        self._job_id = job_id
        self._number = number

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[Any],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(cast(Verb, match["verb"]), int(match["job_id"]), int(match["number"]))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Act, unless it is the same press once more."""
        async with answering(interaction):
            is_repeated = interaction.client.presses.is_repeated(interaction, self.custom_id)
            if is_repeated and self._verb in MAKES:
                await interaction.response.defer()
                return
            await self._act(interaction)

    async def _act(self, interaction: discord.Interaction[FluxBot]) -> None:
        job, number = await pressed_job(interaction, self._job_id), self._number
        match self._verb:
            case "again":
                await make_again(interaction, job)
            case "subtle" | "strong" as variation:
                await vary(interaction, job, number, variation)
            case "zoom15" | "zoom2" | "left" | "right" | "up" | "down" as growth:
                await make_larger(interaction, job, number, growth)
            case "compare":
                await compare(interaction, job, number)
            case "edit" | "repaint" as verb:
                await picture_of(interaction, job, number)  # before anything is typed in vain
                await ask(interaction, verb, job, number)
            case "remix":
                await inputs_of(interaction, job)
                await ask(interaction, "remix", job, number)
            case "info":
                await show_info(interaction, job)
            case "delete":
                await ask_to_delete(interaction, job, ResultButton("erase", job.id, 0))
            case "erase":
                await delete(interaction, job)


class PictureSelect(
    discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"made:pick:(?P<job_id>\d{1,18})"
):
    """Chooses one picture of several: its buttons are shown to who chooses it alone."""

    def __init__(self, job_id: int, options: list[discord.SelectOption]) -> None:
        super().__init__(
            discord.ui.Select(
                placeholder=_("Go on with one of the pictures"),
                custom_id=f"made:pick:{job_id}",
                options=options,
            )
        )
        self._job_id = job_id

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Select[Any],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the select from a message, whichever process sent it."""
        return cls(int(match["job_id"]), item.options)

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Show the picture that was chosen with its buttons."""
        async with answering(interaction):
            choice = chosen(interaction)
            if not NUMBER.fullmatch(choice):
                raise JobError(_("There is no such picture. Please choose one of the list."))
            number = int(choice)
            job = await pressed_job(interaction, self._job_id)
            rows = _rows(job.id, number, _offered(job.request, job.origin.look, OF_ALL))
            await show_picture(interaction, job, number, rows)


def result_rows(job: Job, seeds: tuple[int, ...], hidden: Collection[int]) -> Rows:
    """Return what stands below a result of so many seeds, of which some may not be seen."""
    look = job.origin.look
    seen = [number for number in range(1, len(seeds) + 1) if number not in hidden]
    whole = {verb for verb, offer in OFFERS.items() if offer.one}
    if len(seeds) == 1:
        without = whole if not seen else set()
        return _rows(job.id, 1, _offered(job.request, look, without))
    rows = _rows(job.id, 0, _offered(job.request, look, whole))
    if not seen:
        return rows
    told = _told(job.request, seeds)
    options = [
        discord.SelectOption(
            label=_("Picture {number}", number=number),
            description=told[number - 1],
            value=str(number),
        )
        for number in seen[:MOST_OPTIONS]
    ]
    return [[PictureSelect(job.id, options)], *rows]


def _told(request: Request, seeds: tuple[int, ...]) -> list[str]:
    """Return what tells the pictures of a job apart."""
    if request.sweep is None:
        return [_("Seed {seed}", seed=seed) for seed in seeds]
    return [f"{request.sweep.option} {label}" for label in labels(request.sweep)]


def _offered(request: Request, look: Look, without: Collection[Verb]) -> list[Verb]:
    """Return what the settings of a server allow to be made of a picture."""
    return [
        verb
        for verb, offer in OFFERS.items()
        if verb not in without
        and (verb in ("info", "delete") or (offer.tool or request.tool) in look.tools)
        and (verb != "compare" or look.free)
    ]


def _rows(job_id: int, number: int, verbs: list[Verb]) -> Rows:
    rows: Rows = [
        [ResultButton(verb, job_id, number) for verb in verbs if OFFERS[verb].row == row]
        for row in range(ROWS)
    ]
    return [row for row in rows if row]
