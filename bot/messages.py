"""What people read: the states of a job as embeds, with its pictures as files."""

from __future__ import annotations

import io
from dataclasses import dataclass

import discord

from bot.inference.tools import TOOLS
from bot.inference.types import MemoryStats, Progress, Queued, Request, Result
from bot.jobs import Ended, JobEvent
from bot.storage import Job
from bot.units import format_bytes, format_seconds

ACCENT = discord.Colour(0x5B6CFF)
QUIET = discord.Colour(0x80848E)
FAULT = discord.Colour(0xD83C3E)

PROMPT_SHOWN = 1000
"""Characters of the prompt that a message repeats; Discord allows 4096 in a description, and
escaping can double what is shown."""

DESCRIPTION_LIMIT = 4096
FIELD_LIMIT = 1024
ALT_TEXT_LIMIT = 1024

BAR_CELLS = 12

STAGES = {
    "load": "Loading the model",
    "encode": "Reading the prompt",
    "denoise": "Painting",
    "decode": "Developing",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file of a message; `description` is read out to those who cannot see it."""

    filename: str
    content: bytes
    description: str
    spoiler: bool

    def to_file(self) -> discord.File:
        """Return a new discord.File: discord.py closes each one after its request."""
        return discord.File(
            io.BytesIO(self.content),
            filename=self.filename,
            description=self.description,
            spoiler=self.spoiler,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What a message shows, apart from its buttons; None leaves its files as they are."""

    embed: discord.Embed
    attachments: tuple[Attachment, ...] | None = ()


def compose(job: Job, event: JobEvent) -> Message:
    """Return the message of a job after an event."""
    match event:
        case Queued():
            return Message(embed=_embed(job, ACCENT, _queued_line(event)))
        case Progress():
            embed = _embed(job, ACCENT, progress_line(event))
            return Message(embed=embed, attachments=_preview(job, event))
        case Ended():
            colour = FAULT if event.state == "failed" else QUIET
            # after a crash nobody knows whether the pictures are there: they must not be removed
            files = None if event.state == "interrupted" else ()
            return Message(embed=_embed(job, colour, event.text), attachments=files)
        case Result():
            return Message(embed=_result_embed(job, event), attachments=_attachments(job, event))


def progress_line(progress: Progress) -> str:
    """Return the stage, a bar of its steps and the seconds left, as far as they are known."""
    stage = STAGES[progress.stage]
    if not progress.total:
        return f"{stage} …"
    filled = BAR_CELLS * progress.step // progress.total
    bar = "█" * filled + "░" * (BAR_CELLS - filled)
    line = f"{stage}  `{bar}`  {progress.step}/{progress.total}"
    if progress.step:
        left = progress.seconds / progress.step * (progress.total - progress.step)
        line += f"  ·  {format_seconds(left)} left"
    return line


def quoted(prompt: str) -> str:
    """Return a prompt as text that neither pings nor formats, cut to what a message can hold."""
    shown = prompt if len(prompt) <= PROMPT_SHOWN else prompt[: PROMPT_SHOWN - 1].rstrip() + "…"
    shown = discord.utils.escape_mentions(discord.utils.escape_markdown(" ".join(shown.split())))
    return f"> {shown}"


def memory_line(memory: MemoryStats) -> str:
    """Return the peak, what stays resident and what 8 bits saved, as measured on this machine."""
    weights = memory.weights
    return (
        f"{memory.device}: peak {format_bytes(memory.peak)},"
        f" weights resident {format_bytes(memory.resident)}\n"
        f"Weights of this job {format_bytes(weights.actual)}:"
        f" {_saved(weights.saved_against('bfloat16'))} in bf16,"
        f" {_saved(weights.saved_against('float32'))} in fp32"
    )


def _saved(share: float) -> str:
    return f"{abs(share):.0%} {'less' if share >= 0 else 'more'} than".replace("%", " %")


def _queued_line(queued: Queued) -> str:
    if queued.position <= 1:
        return "Starting …"
    before = queued.position - 1
    return f"Waiting: {before} {'job' if before == 1 else 'jobs'} before this one."


def _embed(job: Job, colour: discord.Colour, line: str) -> discord.Embed:
    description = f"{quoted(job.request.prompt)}\n\n{line}"
    return discord.Embed(
        title=TOOLS[job.request.tool].title,
        description=description[:DESCRIPTION_LIMIT],
        colour=colour,
    )


def _result_embed(job: Job, result: Result) -> discord.Embed:
    embed = discord.Embed(
        title=TOOLS[job.request.tool].title, description=quoted(job.request.prompt), colour=ACCENT
    )
    request = job.request
    _field(embed, "Seed" if request.count == 1 else "Seeds", ", ".join(map(str, result.seeds)))
    _field(embed, "Size", f"{request.width}×{request.height}")
    _field(embed, "Steps", str(request.num_inference_steps))
    if request.guidance_scale is not None:
        _field(embed, "Guidance", f"{request.guidance_scale:g}")
    _field(embed, "Quantization", _quantization(request, result))
    _field(embed, "Time", _times(result), inline=False)
    _field(embed, "Memory", memory_line(result.memory), inline=False)
    if result.notes:
        _field(embed, "Note", "\n".join(result.notes), inline=False)
    return embed.set_footer(text=f"Job {job.id}")


def _field(embed: discord.Embed, name: str, value: str, *, inline: bool = True) -> None:
    embed.add_field(name=name, value=value[:FIELD_LIMIT], inline=inline)


def _quantization(request: Request, result: Result) -> str:
    if result.fallback_reason is None:
        return result.quantization
    reason = discord.utils.escape_markdown(result.fallback_reason)
    if result.quantization == request.quantization:  # a text encoder alone fell back
        return f"{result.quantization}, but {reason}"
    return f"{result.quantization} instead of {request.quantization}: {reason}"


def _times(result: Result) -> str:
    parts = [f"{stage} {format_seconds(seconds)}" for stage, seconds in result.seconds.items()]
    return f"**{format_seconds(sum(result.seconds.values()))}** in all: {', '.join(parts)}"


def _preview(job: Job, progress: Progress) -> tuple[Attachment, ...]:
    if progress.preview is None:
        return ()
    return (
        Attachment(
            filename="preview.webp",
            content=progress.preview,
            description="A preview of the picture that is being painted",
            spoiler=job.origin.spoiler,
        ),
    )


def _attachments(job: Job, result: Result) -> tuple[Attachment, ...]:
    return tuple(
        Attachment(
            filename=f"{job.request.tool}-{job.id}-{number}.png",
            content=image,
            description=job.request.prompt[:ALT_TEXT_LIMIT],
            spoiler=job.origin.spoiler,
        )
        for number, image in enumerate(result.images, 1)
    )
