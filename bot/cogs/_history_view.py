"""What `/history` shows: a page of jobs, or one of them, and where in the history that is."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

import discord

from bot.captions import ALT_TEXT_LIMIT, alt_text, caption, varied
from bot.colours import ACCENT, accent
from bot.facts import facts, lines
from bot.history import Page, Search
from bot.i18n import N_, _
from bot.inference.tools import TOOLS
from bot.records import Job, result_of
from bot.rendering import within_layout
from bot.thumbnails import Thumbnail

PAGE = 6
"""Jobs on a page."""
TEXT = 40
"""Characters of a text that is looked for: with all else it has to fit into a custom_id."""
PROMPT_SHOWN = 120
ERROR_SHOWN = 120

Whose = Literal["mine", "server"]

STATES = {
    "queued": N_("waits"),
    "running": N_("is being painted"),
    "made": N_("is on its way"),
    "failed": N_("failed"),
    "cancelled": N_("cancelled"),
    "interrupted": N_("was interrupted"),
}

PLACE = r"(?P<start>\d{1,19}):(?P<whose>[ms])(?P<here>h?):(?P<tool>\w{0,20}):(?P<text>(?s:.*))"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where in which history somebody is: its filters, and the job that its page starts with.

    A `start` of 0 is the newest; `here` is the channel in which it is looked at. It is written into
    the custom_ids of buttons, so that it outlives the process; what it says may be forged.
    """

    start: int = 0
    whose: Whose = "mine"
    here: bool = False
    tool: str | None = None
    text: str = ""

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        """Return the place in a custom_id."""
        return cls(
            start=number(match["start"]),
            whose="server" if match["whose"] == "s" else "mine",
            here=bool(match["here"]),
            tool=match["tool"] or None,
            text=match["text"],
        )

    def search(self, channel_id: int | None) -> Search:
        """Return what is looked for by who is in a channel."""
        return Search(tool=self.tool, text=self.text, channel_id=channel_id if self.here else None)

    def at(self, start: int) -> Place:
        """Return the same history from another job on."""
        return replace(self, start=start)

    def __str__(self) -> str:
        here = "h" if self.here else ""
        return f"{self.start}:{self.whose[0]}{here}:{self.tool or ''}:{self.text}"


Rows = Iterable[discord.ui.ActionRow[Any]]


def page_message(
    place: Place, page: Page, thumbnails: Sequence[Thumbnail], rows: Rows, note: str = ""
) -> dict[str, Any]:
    """Return the arguments of an edit that shows a page; `note` is what was just done."""
    container: discord.ui.Container[Any] = discord.ui.Container(accent_colour=ACCENT)
    title = "## " + _("History") + f"\n{_looked_for(place)}"
    container.add_item(discord.ui.TextDisplay(title.rstrip()))
    if note:
        container.add_item(discord.ui.TextDisplay(note))
    _add_gallery(container, thumbnails)
    lines = [_line(job, place) for job in page.jobs]
    container.add_item(discord.ui.TextDisplay("\n".join(lines) or _("There is nothing yet.")))
    return _arguments(container, thumbnails, rows)


def job_message(
    job: Job, thumbnails: Sequence[Thumbnail], rows: Rows, note: str = ""
) -> dict[str, Any]:
    """Return the arguments of an edit that shows one job; `note` is what is asked about it."""
    colour = accent(job.request.tool)
    container: discord.ui.Container[Any] = discord.ui.Container(accent_colour=colour)
    title = f"## {TOOLS[job.request.tool].title}\n{caption(job.request, job.inputs)}"
    title, details, note = within_layout([title, _details(job), note])
    container.add_item(discord.ui.TextDisplay(title))
    _add_gallery(container, thumbnails)
    container.add_item(discord.ui.TextDisplay(details))
    if note:
        container.add_item(discord.ui.TextDisplay(note))
    return _arguments(container, thumbnails, rows)


def option(job: Job) -> discord.SelectOption:
    """Return a job as what can be chosen from a page."""
    words = (str(job.id), TOOLS[job.request.tool].title, " ".join(job.request.prompt.split()))
    name = " · ".join(filter(None, words))
    return discord.SelectOption(label=name[:100], value=str(job.id))


def number(text: str) -> int:
    """Return a number that a row could have."""
    return min(int(text), 2**63 - 1)


def _looked_for(place: Place) -> str:
    """Return what a history is narrowed to."""
    parts = [_("of this server")] if place.whose == "server" else []
    if place.here:
        parts.append(_("in this channel"))
    if place.tool in TOOLS:
        parts.append(_("by {tool}", tool=TOOLS[cast(str, place.tool)].title))
    if place.text:
        parts.append(_("with “{text}”", text=plain(place.text)))
    return " ".join(parts)


def _line(job: Job, place: Place) -> str:
    """Return one job in two lines."""
    line = f"**{job.id}** {TOOLS[job.request.tool].title} · <t:{job.created_at:.0f}:R>"
    if place.whose == "server":
        line += f" · <@{job.origin.user_id}>"
    if job.state in STATES:
        line += f" · {_(STATES[job.state])}"
    if job.request.sweep is not None:
        line += f" · {varied(job.request.sweep)}"
    prompt = " ".join(job.request.prompt.split())
    shown = prompt if len(prompt) <= PROMPT_SHOWN else f"{prompt[:PROMPT_SHOWN].rstrip()}…"
    return f"{line}\n> {plain(shown)}" if shown else line


def _details(job: Job) -> str:
    line = _("Job {id}", id=job.id) + f" · <t:{job.created_at:.0f}:f>"
    if job.state in STATES:
        line += f" · {_(STATES[job.state])}"
    if job.error:
        line += f": {plain(job.error)[:ERROR_SHOWN]}"
    result = None if job.outcome is None else result_of(job.outcome)
    known = facts(job.request, job.inputs, result, job.origin.look.memory_line)
    return "\n".join([line, *lines(known)])


def plain(text: str) -> str:
    """Return a text so that it formats nothing and mentions nobody."""
    return discord.utils.escape_mentions(discord.utils.escape_markdown(text))


def _add_gallery(container: discord.ui.Container[Any], thumbnails: Sequence[Thumbnail]) -> None:
    if not thumbnails:
        return
    items = [
        discord.MediaGalleryItem(
            f"attachment://{_filename(each)}",
            description=_read_out(each),
            spoiler=each.job.origin.spoiler,
        )
        for each in thumbnails
    ]
    container.add_item(discord.ui.MediaGallery(*items))


def _read_out(thumbnail: Thumbnail) -> str:
    """Return what is read out of a picture; on a page of several jobs it says of which it is."""
    job = thumbnail.job
    told = _("{id}: {text}", id=job.id, text=alt_text(job.request, job.inputs))
    return told[:ALT_TEXT_LIMIT]


def _filename(thumbnail: Thumbnail) -> str:
    return f"{thumbnail.job.id}-{thumbnail.position}.webp"


def _arguments(
    container: discord.ui.Container[Any], thumbnails: Sequence[Thumbnail], rows: Rows
) -> dict[str, Any]:
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(container)
    for row in rows:
        view.add_item(row)
    files = [
        discord.File(io.BytesIO(each.content), _filename(each), description=_read_out(each))
        for each in thumbnails
    ]
    return {
        "view": view,
        "attachments": files,
        "allowed_mentions": discord.AllowedMentions.none(),
    }
