"""What people read: the states of a job, and of a draft, as embeds with pictures as files."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import discord

from bot.captions import CONTROLS, adjusted, alt_text, caption, memory_line, own_options
from bot.events import Ended, JobEvent
from bot.inference.tools import TOOLS
from bot.inference.types import Progress, Queued, Request, Result
from bot.records import Draft, Job
from bot.units import counted, format_seconds, format_wait

ACCENT = discord.Colour(0x5B6CFF)
QUIET = discord.Colour(0x80848E)
FAULT = discord.Colour(0xD83C3E)

DESCRIPTION_LIMIT = 4096
FIELD_LIMIT = 1024

INLINE = 24
"""Characters that fit beside two other fields."""

BAR_CELLS = 12

NOTE = "Note"

ARCHIVED = ("Seed", "Seeds", NOTE)
"""Fields of a result that its copy in the archive has too."""

STAGES = {
    "load": "Loading the model",
    "annotate": "Looking at the image",
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

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of an edit, with files that are good for one request."""
        arguments: dict[str, Any] = {
            "embed": self.embed,
            "allowed_mentions": discord.AllowedMentions.none(),
        }
        if self.attachments is not None:
            arguments["attachments"] = [each.to_file() for each in self.attachments]
        return arguments

    def new_arguments(self) -> dict[str, Any]:
        """Return the arguments of a message of its own, which calls the files otherwise."""
        arguments = self.arguments()
        arguments["files"] = arguments.pop("attachments", ())
        return arguments


def compose(job: Job, event: JobEvent) -> Message:
    """Return the message of a job after an event."""
    match event:
        case Queued():
            return Message(embed=_job_embed(job, ACCENT, _queued_line(event)))
        case Progress():
            embed = _job_embed(job, ACCENT, progress_line(event))
            return Message(embed=embed, attachments=_preview(job, event))
        case Ended():
            colour = FAULT if event.state == "failed" else QUIET
            return Message(embed=_job_embed(job, colour, event.text))
        case Result():
            return Message(embed=_result_embed(job, event), attachments=_attachments(job, event))


def archived(job: Job, message: Message, link: str) -> Message:
    """Return the copy of a result's message for the archive, which says who asked, and where."""
    embed = _job_embed(job, ACCENT, "")
    _field(embed, "Asked by", f"<@{job.origin.user_id}>")
    _field(embed, "Message", link)
    for field in message.embed.fields:
        if field.name in ARCHIVED:
            embed.add_field(name=field.name, value=field.value, inline=field.inline)
    return replace(message, embed=embed.set_footer(text=message.embed.footer.text))


def starting(request: Request) -> discord.Embed:
    """Return what the message of a job shows until it is one."""
    return _embed(request, (), ACCENT, "Starting …")


def mask_preview(draft: Draft, picture: bytes | None = None) -> Message:
    """Return the preview of a mask: the picture that shows it, and what was done to it.

    Without a picture the message keeps the one that it has.
    """
    assert draft.request.region is not None
    lines = "The coloured part is repainted, the rest stays as it is."
    if words := adjusted(draft.request.region):
        lines += f"\nThe mask is {words}."
    embed = _embed(draft.request, (), ACCENT, lines)
    embed.set_footer(text="Only you see this. The buttons work for ten minutes.")
    if picture is None:
        return Message(embed=embed, attachments=None)
    file = Attachment(
        filename=f"mask-preview-{draft.id}.jpg",
        content=picture,
        description="The image, with the part in colour that will be repainted",
        spoiler=False,
    )
    return Message(embed=embed, attachments=(file,))


def draft_painted(draft: Draft) -> Message:
    """Return what a preview shows when it has become a job."""
    where = "" if draft.origin.private else ", for all to see in this channel"
    embed = _embed(draft.request, (), QUIET, f"It is being painted{where}.")
    return Message(embed=embed, attachments=None)


def draft_ended(draft: Draft, text: str) -> Message:
    """Return what a preview shows when nothing is painted; `text` says why."""
    return Message(embed=_embed(draft.request, (), QUIET, text))


def with_note(message: Message, note: str) -> Message:
    """Return a message that says one thing more."""
    embed = message.embed.copy()
    for position, field in enumerate(embed.fields):
        if field.name == NOTE:
            text = f"{note}\n{field.value}"[:FIELD_LIMIT]
            return replace(
                message, embed=embed.set_field_at(position, name=NOTE, value=text, inline=False)
            )
    return replace(message, embed=embed.add_field(name=NOTE, value=note, inline=False))


def joined(lines: Sequence[str]) -> str:
    """Return lines as far as the field of an embed goes, and how many more there are."""
    text = ""
    for number, line in enumerate(lines):
        if len(text) + len(line) > FIELD_LIMIT - 20:
            return f"{text}and {len(lines) - number} more"
        text += f"{line}\n"
    return text.rstrip()


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


def _queued_line(queued: Queued) -> str:
    if queued.restarting:
        return "The bot is restarting. This goes on by itself when it is back."
    if queued.position <= 1:
        return "Starting …"
    line = f"Waiting: {counted(queued.position - 1, 'job')} before this one"
    if queued.seconds is not None:
        line += f", about {format_wait(queued.seconds)}"
    return f"{line}."


def _job_embed(job: Job, colour: discord.Colour, line: str) -> discord.Embed:
    return _embed(job.request, job.inputs, colour, line)


def _embed(
    request: Request, inputs: Collection[str], colour: discord.Colour, line: str
) -> discord.Embed:
    description = f"{caption(request, inputs)}\n\n{line}".rstrip()
    return discord.Embed(
        title=TOOLS[request.tool].title, description=description[:DESCRIPTION_LIMIT], colour=colour
    )


def _result_embed(job: Job, result: Result) -> discord.Embed:
    embed = _job_embed(job, ACCENT, "")
    request = job.request
    _field(embed, "Seed" if request.count == 1 else "Seeds", ", ".join(map(str, result.seeds)))
    _field(embed, "Size", "{}×{}".format(*result.size))
    for name, value in own_options(request, job.inputs).items():
        _field(embed, name, value, inline=len(value) <= INLINE)
    _field(embed, "Steps", str(request.num_inference_steps))
    if request.guidance_scale is not None:
        _field(embed, "Guidance", f"{request.guidance_scale:g}")
    _field(embed, "Quantization", _quantization(request, result))
    _field(embed, "Time", _times(result), inline=False)
    if words := memory_line(result.memory, job.origin.look.memory_line):
        _field(embed, "Memory", words, inline=False)
    if result.notes:
        _field(embed, NOTE, "\n".join(result.notes), inline=False)
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
    times = {stage: format_seconds(seconds) for stage, seconds in result.seconds.items()}
    # what an earlier job had worked out for the same words and images
    times |= dict.fromkeys(result.reused, "kept")
    parts = ", ".join(f"{stage} {time}" for stage, time in times.items())
    return f"**{format_seconds(sum(result.seconds.values()))}** in all: {parts}"


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
    pictures = tuple(
        Attachment(
            filename=f"{job.request.tool}-{job.id}-{number}.png",
            content=image,
            description=alt_text(job.request, job.inputs),
            spoiler=job.origin.spoiler,
        )
        for number, image in enumerate(result.images, 1)
    )
    if result.control_image is None:
        return pictures
    control = Attachment(
        filename=f"{job.request.tool}-{job.id}-control.webp",
        content=result.control_image,
        description=CONTROLS[job.request.tool],
        spoiler=False,  # it shows what the member attached, not what came of it
    )
    return (*pictures, control)
