"""“Image info” on any message: how its pictures were made, as far as that is known or written."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Mapping
from typing import Any, Self

import discord
from discord import app_commands
from discord.ext import commands

from bot.archive import Sight
from bot.captions import caption, memory_line, own_options
from bot.client import FluxBot, explain
from bot.cogs._attachments import attached, read
from bot.cogs._history_view import plain
from bot.cogs._sight import sees, wide_sight
from bot.cogs._submit import acknowledge
from bot.cogs.history import result_arguments
from bot.errors import JobError, RequestError
from bot.inference.tools import TOOLS
from bot.inference.types import MemoryStats, Weights
from bot.messages import ACCENT, FIELD_LIMIT, joined
from bot.picture_facts import PictureFacts, read_facts
from bot.records import Job
from bot.units import counted, format_seconds

MOST_PICTURES = 4
"""Pictures of one message that are read."""
VALUE_SHOWN = 300
MOST_PARENTS = 10
MOST_UNDO = 5

MADE_WITH = {
    "model": "Model",
    "weights": "Weights",
    "transformer": "Transformer",
    "revision": "Revision",
    "kernel": "Kernel",
    "dtype": "Precision",
    "device": "Device",
}
UNKNOWN = "not noted at that time"
NOT_YOURS = "A job that you cannot see"


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
        """Show it; discord.py only logs what a DynamicItem raises, so the funnel is here."""
        try:
            job = await interaction.client.storage.archive.find(
                wide_sight(interaction), self._job_id
            )
            await acknowledge(interaction, private=True)
            await interaction.edit_original_response(**await result_arguments(interaction, job))
        except Exception as error:
            await explain(interaction, error)


async def image_info(interaction: discord.Interaction[FluxBot], message: discord.Message) -> None:
    """See how the pictures of a message were made."""
    await acknowledge(interaction, private=True)
    job = await _own_job(interaction, message)
    if job is None:
        arguments = await _of_files(message)
    else:
        arguments = await _of_job(interaction, job)
    await interaction.edit_original_response(**arguments)


async def _own_job(
    interaction: discord.Interaction[FluxBot], message: discord.Message
) -> Job | None:
    """Return the job whose result a message of ours shows; None if it is not for who asks."""
    bot = interaction.client
    if bot.user is None or message.author.id != bot.user.id:
        return None
    job = await bot.storage.archive.of_message(message.id)
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
    footers = [embed.footer.text or "" for embed in message.embeds]
    named = next(filter(None, (re.fullmatch(r"Job (\d{1,18})", each) for each in footers)), None)
    if named is None:
        return None
    try:
        job = await interaction.client.storage.archive.find(wide_sight(interaction), int(named[1]))
    except JobError:
        return None
    # the jobs of another data folder had the same numbers
    return job if job.outcome is not None and job.origin.message_id < message.id else None


async def _of_job(interaction: discord.Interaction[FluxBot], job: Job) -> dict[str, Any]:
    archive = interaction.client.storage.archive
    ancestors, sight = await archive.ancestors(job.id), wide_sight(interaction)
    embed = _job_embed(job)
    if ancestors:
        lines = [_ancestor_line(each, sight) for each in ancestors[:MOST_PARENTS]]
        embed.add_field(name="Made from", value=joined(lines), inline=False)
    if children := await archive.children(job.id):
        embed.add_field(name="Taken up by", value=counted(children, "later job"))
    seen = [each.id for each in ancestors if each.id in job.parents and sees(sight, each)]
    arguments: dict[str, Any] = {
        "embed": embed,
        "attachments": [_json_file(f"job-{job.id}.json", _job_values(job))],
    }
    if seen:
        arguments["view"] = _undo_buttons(seen)
    return arguments


def _undo_buttons(job_ids: list[int]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for job_id in job_ids[:MOST_UNDO]:
        label = "Undo" if len(job_ids) == 1 else f"Undo to job {job_id}"
        view.add_item(UndoButton(job_id, label))
    return view


def _job_embed(job: Job) -> discord.Embed:
    """Return everything that is known of a job that was made."""
    assert job.outcome is not None
    request, outcome = job.request, job.outcome
    made_with: Mapping[str, str] = outcome.get("made_with", {})
    embed = discord.Embed(
        title=f"{TOOLS[request.tool].title} · job {job.id}",
        description=caption(request, job.inputs),
        colour=ACCENT,
    )
    guidance = None if request.guidance_scale is None else f"{request.guidance_scale:g}"
    fields = {
        "Seeds": ", ".join(map(str, outcome["seeds"])),
        "Size": "{}×{}".format(*outcome["size"]),
        "Steps": str(request.num_inference_steps),
        "Guidance": guidance,
        **own_options(request, job.inputs),
        "Quantization": outcome["quantization"],
        **{label: made_with.get(name) for name, label in MADE_WITH.items()},
    }
    for name, value in fields.items():
        if value:
            embed.add_field(name=name, value=plain(value)[:FIELD_LIMIT])
    versions = [f"{n} {v}" for n, v in made_with.items() if n not in MADE_WITH]
    embed.add_field(name="Versions", value=", ".join(versions) or UNKNOWN, inline=False)
    times = [f"{stage} {format_seconds(each)}" for stage, each in outcome["seconds"].items()]
    times += [f"{stage} kept" for stage in outcome["reused"]]
    embed.add_field(name="Time", value=", ".join(times), inline=False)
    embed.add_field(
        name="Memory", value=memory_line(_memory(outcome["memory"]), "full"), inline=False
    )
    if job.repeats is not None:
        embed.add_field(name="Again", value=f"This repeats job {job.repeats}.")
    return embed


def _memory(values: Mapping[str, Any]) -> MemoryStats:
    return MemoryStats(**{**values, "weights": Weights(**values["weights"])})


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
        return NOT_YOURS
    origin = job.origin
    line = f"Job {job.id} · {TOOLS[job.request.tool].title}"
    if origin.private:
        return f"{line} · only you saw it"
    place = f"{origin.guild_id or '@me'}/{origin.channel_id}/{origin.message_id}"
    return f"[{line}](https://discord.com/channels/{place})"


async def _of_files(message: discord.Message) -> dict[str, Any]:
    """Return what the files of a message say of themselves; raise RequestError if none is one."""
    pictures = [
        each for each in message.attachments if (each.content_type or "").startswith("image/")
    ]
    if not pictures:
        raise RequestError("This message has no pictures.", "Choose one that has.")
    named = {f"picture {n}": each for n, each in enumerate(pictures[:MOST_PICTURES], 1)}
    contents = await read(attached(**named))
    facts = {
        name: await asyncio.to_thread(read_facts, content, name=name)
        for name, content in contents.items()
    }
    embed = discord.Embed(title="Image info", colour=ACCENT)
    for name, each in facts.items():
        embed.add_field(
            name=f"{name.capitalize()}: {each.size[0]}×{each.size[1]}, {each.format}",
            value=_told(each),
            inline=False,
        )
    if len(pictures) > len(named):
        embed.set_footer(text=f"These are the first {len(named)} of {len(pictures)} pictures.")
    values = {name: dict(each.parameters) for name, each in facts.items() if each.parameters}
    files = [_json_file("parameters.json", values)] if values else []
    return {"embed": embed, "attachments": files}


def _told(facts: PictureFacts) -> str:
    if not facts.parameters:
        return "It does not say how it was made."
    return joined(
        [f"{plain(name)}: {plain(_text(value))}" for name, value in facts.parameters.items()]
    )


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}…"


def _json_file(filename: str, values: Mapping[str, Any]) -> discord.File:
    text = json.dumps(values, indent=1, ensure_ascii=False)
    return discord.File(io.BytesIO(text.encode()), filename)


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
