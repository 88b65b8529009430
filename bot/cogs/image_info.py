"""“Image info” on any message: how its pictures were made, as far as that is known or written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import discord
from discord import app_commands
from discord.ext import commands

from bot.captions import caption
from bot.client import FluxBot, answering
from bot.cogs._attachments import attached, pictures_of, read
from bot.cogs._history_view import plain
from bot.cogs._sight import sees, wide_sight
from bot.cogs._submit import acknowledge
from bot.cogs.history import result_arguments
from bot.colours import ACCENT, accent
from bot.errors import JobError, RequestError
from bot.facts import Fact, asked, facts
from bot.history import Sight
from bot.i18n import N_, _, counted
from bot.inference.previews import MaskPreviews
from bot.inference.tools import TOOLS
from bot.messages import joined, named_job
from bot.picture_facts import PictureFacts, read_facts
from bot.records import Job, result_of
from bot.rendering import FIELD_LIMIT, Attachment, Message

MOST_PICTURES = 10
"""Pictures of one message that are read."""
ALL_FIELDS = 5000
"""Characters of an embed's 6,000 that its fields share."""
VALUE_SHOWN = 300
MOST_PARENTS = 10
MOST_UNDO = 5

MADE_WITH = {
    "model": N_("Model"),
    "weights": N_("Weights"),
    "transformer": N_("Transformer"),
    "revision": N_("Revision"),
    "kernel": N_("Kernel"),
    "dtype": N_("Precision"),
    "device": N_("Device"),
}
UNKNOWN = N_("not noted at that time")
NOT_YOURS = N_("A job that you cannot see")


class UndoButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"undo:(?P<job_id>\d{1,18})",
):
    """Shows what a picture was made from once more, to who may see it."""

    def __init__(self, job_id: int, label: str = "Undo") -> None:
        super().__init__(discord.ui.Button(label=label, custom_id=f"undo:{job_id}"))
        self._job_id = job_id

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[discord.ui.View],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(int(match["job_id"]))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Show it."""
        async with answering(interaction):
            job = await interaction.client.storage.history.find(
                wide_sight(interaction), self._job_id
            )
            await acknowledge(interaction, private=True)
            await interaction.edit_original_response(**await result_arguments(interaction, job))


async def image_info(interaction: discord.Interaction[FluxBot], message: discord.Message) -> None:
    """See how the pictures of a message were made."""
    await acknowledge(interaction, private=True)
    job = await own_job(interaction, message)
    if job is None:
        arguments = await _of_files(interaction.client.previews, message)
    else:
        arguments = await job_arguments(interaction, job)
    await interaction.edit_original_response(**arguments)


async def own_job(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> Job | None:
    """Return the job whose result a message of ours shows; None if it is not for who asks."""
    bot = interaction.client
    if bot.user is None or message.author.id != bot.user.id:
        return None
    job = await bot.storage.history.of_message(message.id)
    if job is None:
        return await _named_job(interaction, message)
    if job.outcome is None:
        return None
    owner = job.origin.user_id == interaction.user.id
    return job if owner or not job.origin.private else None


async def _named_job(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> Job | None:
    """Return the job that a message names which is not its first: posted anew, or shown again."""
    number = named_job(message)
    if number is None:
        return None
    try:
        job = await interaction.client.storage.history.find(wide_sight(interaction), number)
    except JobError:
        return None
    # the jobs of another data folder had the same numbers
    return job if job.outcome is not None and job.origin.message_id < message.id else None


async def job_arguments(interaction: discord.Interaction[FluxBot], job: Job) -> dict[str, Any]:
    """Return the arguments of an edit that shows how the pictures of a job were made."""
    history = interaction.client.storage.history
    ancestors, sight = await history.ancestors(job.id), wide_sight(interaction)
    known = _known(job)
    if ancestors:
        lines = [_ancestor_line(each, sight) for each in ancestors[:MOST_PARENTS]]
        known.append(Fact(N_("Made from"), joined(lines), inline=False))
    if children := await history.children(job.id):
        words = counted("{n} later job", "{n} later jobs", children)
        known.append(Fact(N_("Taken up by"), words))
    seen = [each.id for each in ancestors if each.id in job.parents and sees(sight, each)]
    message = Message(
        title=f"{TOOLS[job.request.tool].title} · " + _("job {id}", id=job.id),
        text=caption(job.request, job.inputs),
        colour=accent(job.request.tool),
        facts=tuple(known),
        attachments=(_json_file(f"job-{job.id}.json", _job_values(job)),),
    )
    return message.arguments([_undo_buttons(seen)])


def _undo_buttons(job_ids: list[int]) -> list[UndoButton]:
    if len(job_ids) == 1:
        return [UndoButton(job_ids[0], _("Undo"))]
    return [UndoButton(each, _("Undo to job {id}", id=each)) for each in job_ids[:MOST_UNDO]]


def _known(job: Job) -> list[Fact]:
    """Return everything that is known of a job that was made."""
    assert job.outcome is not None
    result = result_of(job.outcome)
    known = [asked(job), *facts(job.request, job.inputs, result)]
    for name, label in MADE_WITH.items():
        if value := result.made_with.get(name):
            known.append(Fact(label, plain(value)))
    versions = [f"{n} {v}" for n, v in result.made_with.items() if n not in MADE_WITH]
    known.append(Fact(N_("Versions"), ", ".join(versions) or _(UNKNOWN), inline=False))
    if job.repeats is not None:
        known.append(Fact(N_("Repeats"), _("This repeats job {job}.", job=job.repeats)))
    return known


def _job_values(job: Job) -> dict[str, Any]:
    return {
        "job": job.id,
        "request": job.request.options(),
        "attached": job.inputs,
        "outcome": job.outcome,
        "made_from": job.parents,
        "repeats": job.repeats,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _ancestor_line(job: Job, sight: Sight) -> str:
    """Return where a picture came from, with a link to those who can follow it."""
    if not sees(sight, job):
        return _(NOT_YOURS)
    line = _("Job {id}", id=job.id) + f" · {TOOLS[job.request.tool].title}"
    if job.origin.private:
        return f"{line} · " + _("only you saw it")
    return f"[{line}]({job.origin.jump_url})"


async def _of_files(previews: MaskPreviews, message: discord.Message) -> dict[str, Any]:
    """Return what the files of a message say of themselves; raise RequestError if none is one."""
    pictures = pictures_of(message)
    if not pictures:
        raise RequestError(_("This message has no pictures."), _("Choose one that has."))
    # one after the other: together they could be of 250 MB
    told = [
        await _facts_of(previews, n, each) for n, each in enumerate(pictures[:MOST_PICTURES], 1)
    ]
    embed = discord.Embed(title=_("Image info"), colour=ACCENT)
    for n, each in enumerate(told, 1):
        width, height = each.size
        title = _(
            "Picture {n}: {width}×{height}, {format}",
            n=n,
            width=width,
            height=height,
            format=each.format,
        )
        room = min(FIELD_LIMIT, ALL_FIELDS // len(told))
        embed.add_field(name=title, value=_told(each, room), inline=False)
    if len(pictures) > len(told):
        footer = counted(
            "These are the first {shown} of {n} picture.",
            "These are the first {shown} of {n} pictures.",
            len(pictures),
            shown=len(told),
        )
        embed.set_footer(text=footer)
    values = {f"picture {n}": dict(each.parameters) for n, each in enumerate(told, 1)}
    values = {name: parameters for name, parameters in values.items() if parameters}
    files = [_json_file("parameters.json", values).to_file()] if values else []
    return {"embed": embed, "attachments": files}


async def _facts_of(previews: MaskPreviews, n: int, picture: discord.Attachment) -> PictureFacts:
    name = _("picture {n}", n=n)
    contents = await read(attached(**{name: picture}))
    return await previews.look(partial(read_facts, name=name), contents[name])


def _told(facts: PictureFacts, room: int) -> str:
    if not facts.parameters:
        return _("It does not say how it was made.")
    return joined(
        [f"{plain(name)}: {plain(_text(value))}" for name, value in facts.parameters.items()],
        room,
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}…"


def _json_file(filename: str, values: Mapping[str, Any]) -> Attachment:
    return Attachment(
        filename=filename,
        content=json.dumps(values, indent=1, ensure_ascii=False).encode(),
        description=_("All of this, as JSON"),
        spoiler=False,
    )


class ImageInfo(commands.Cog):
    """The command “Image info” in the menu of a message."""

    def __init__(self, bot: FluxBot) -> None:
        self._bot = bot
        self._menu = app_commands.ContextMenu(name="Image info", callback=image_info)

    async def cog_load(self) -> None:
        """Add the command: discord.py does not find context menus in cogs by itself."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Take it away again."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)


async def setup(bot: FluxBot) -> None:
    """Add the cog; called by `load_extension`."""
    await bot.add_cog(ImageInfo(bot))
