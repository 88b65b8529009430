"""What people read: the states of a job, and of a draft, with pictures as files."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import discord

from bot.captions import CONTROLS, adjusted, alt_text, caption, title
from bot.colours import FAULT, QUIET, accent
from bot.events import Ended, JobEvent
from bot.facts import NOTE, SEED, SEEDS, Fact, facts
from bot.i18n import N_, _, counted, languages, speaking
from bot.inference.types import Progress, Queued, Request, Result
from bot.records import Draft, Job
from bot.rendering import FIELD_LIMIT, Attachment, Message, footers
from bot.units import format_seconds, format_wait

BAR_CELLS = 12

ARCHIVED = (SEED, SEEDS, NOTE)
"""Facts of a result that its copy in the archive has too."""

FOOTER = N_("Job {id}")

STAGES = {
    "load": N_("Loading the model"),
    "annotate": N_("Looking at the image"),
    "encode": N_("Reading the prompt"),
    "denoise": N_("Painting"),
    "decode": N_("Developing"),
}


def compose(job: Job, event: JobEvent) -> Message:
    """Return the message of a job after an event."""
    colour = accent(job.request.tool)
    match event:
        case Queued():
            return _of_job(job, colour, _queued_line(event))
        case Progress():
            message = _of_job(job, colour, progress_line(event))
            return replace(message, attachments=_preview(job, event))
        case Ended():
            return _of_job(job, FAULT if event.state == "failed" else QUIET, event.text)
        case Result():
            return replace(
                _of_job(job, colour),
                facts=facts(job.request, job.inputs, event, job.origin.look.memory_line),
                footer=_(FOOTER, id=job.id),
                attachments=_attachments(job, event),
            )


def archived(job: Job, message: Message, link: str) -> Message:
    """Return the copy of a result's message for the archive, which says who asked, and where."""
    kept = [fact for fact in message.facts if fact.name in ARCHIVED]
    who, where = Fact(N_("Asked by"), f"<@{job.origin.user_id}>"), Fact(N_("Message"), link)
    return replace(
        _of_job(job, message.colour),
        facts=(who, where, *kept),
        footer=_(FOOTER, id=job.id),
        attachments=message.attachments,
    )


def named_job(message: discord.Message) -> int | None:
    """Return the number of the job whose result a message of ours shows, whatever its language."""
    for footer in footers(message):
        for language in languages():
            if named := _footer_pattern(language).fullmatch(footer):
                return int(named[1])
    return None


def starting(request: Request) -> discord.Embed:
    """Return what the message of a job shows until it is one."""
    return _message(request, (), accent(request.tool), _("Starting …")).embed


def mask_preview(draft: Draft, picture: bytes | None = None) -> Message:
    """Return the preview of a mask: the picture that shows it, and what was done to it.

    Without a picture the message keeps the one that it has.
    """
    assert draft.request.region is not None
    lines = _("The coloured part is repainted, the rest stays as it is.")
    if changes := adjusted(draft.request.region):
        lines += "\n" + _("The mask is {changes}.", changes=changes)
    message = replace(
        _message(draft.request, (), accent(draft.request.tool), lines),
        footer=_("Only you see this. The buttons work for ten minutes."),
        attachments=None,
    )
    if picture is None:
        return message
    file = Attachment(
        filename=f"mask-preview-{draft.id}.jpg",
        content=picture,
        description=_("The image, with the part in colour that will be repainted"),
        spoiler=False,
    )
    return replace(message, attachments=(file,))


def draft_painted(draft: Draft) -> Message:
    """Return what a preview shows when it has become a job."""
    if draft.origin.private:
        line = _("It is being painted.")
    else:
        line = _("It is being painted, for all to see in this channel.")
    return replace(_message(draft.request, (), QUIET, line), attachments=None)


def draft_ended(draft: Draft, text: str) -> Message:
    """Return what a preview shows when nothing is painted; `text` says why."""
    return _message(draft.request, (), QUIET, text)


def with_note(message: Message, note: str) -> Message:
    """Return a message that says one thing more."""
    noted = [fact.value for fact in message.facts if fact.name == NOTE]
    others = [fact for fact in message.facts if fact.name != NOTE]
    return replace(message, facts=(*others, Fact(NOTE, "\n".join([note, *noted]), inline=False)))


def joined(lines: Sequence[str], room: int = FIELD_LIMIT) -> str:
    """Return lines as far as the field of an embed goes, and how many more there are."""
    text = ""
    for position, line in enumerate(lines):
        if len(text) + len(line) > room - 40:
            return text + counted("and {n} more", "and {n} more", len(lines) - position)
        text += f"{line}\n"
    return text.rstrip()


def progress_line(progress: Progress) -> str:
    """Return the stage, a bar of its steps and the seconds left, as far as they are known."""
    stage = _(STAGES[progress.stage])
    if not progress.total:
        return f"{stage} …"
    filled = BAR_CELLS * progress.step // progress.total
    bar = "█" * filled + "░" * (BAR_CELLS - filled)
    line = f"{stage}  `{bar}`  {progress.step}/{progress.total}"
    if progress.step:
        left = progress.seconds / progress.step * (progress.total - progress.step)
        line += "  ·  " + _("{time} left", time=format_seconds(left))
    return line


def _queued_line(queued: Queued) -> str:
    if queued.restarting:
        return _("The bot is restarting. This goes on by itself when it is back.")
    before = queued.position - 1
    if before < 1:
        return _("Starting …")
    if queued.seconds is None:
        return counted(
            "Waiting: {n} job before this one.", "Waiting: {n} jobs before this one.", before
        )
    return counted(
        "Waiting: {n} job before this one, about {wait}.",
        "Waiting: {n} jobs before this one, about {wait}.",
        before,
        wait=format_wait(queued.seconds),
    )


def _of_job(job: Job, colour: discord.Colour, line: str = "") -> Message:
    message = _message(job.request, job.inputs, colour, line)
    if not job.origin.look.named:
        return message
    return replace(message, text=f"<@{job.origin.user_id}>\n{message.text}")


def _message(
    request: Request, inputs: Collection[str], colour: discord.Colour, line: str
) -> Message:
    text = f"{caption(request, inputs)}\n\n{line}".rstrip()
    return Message(title=title(request), text=text, colour=colour)


def _footer_pattern(language: str) -> re.Pattern[str]:
    with speaking(language):
        before, after = _(FOOTER, id="\n").split("\n")
    return re.compile(rf"{re.escape(before)}(\d{{1,18}}){re.escape(after)}")


def _preview(job: Job, progress: Progress) -> tuple[Attachment, ...]:
    if progress.preview is None:
        return ()
    return (
        Attachment(
            filename="preview.webp",
            content=progress.preview,
            description=_("A preview of the picture that is being painted"),
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
            picture=True,
        )
        for number, image in enumerate(result.images, 1)
    )
    if result.control_image is None:
        return pictures
    control = Attachment(
        filename=f"{job.request.tool}-{job.id}-control.webp",
        content=result.control_image,
        description=_(CONTROLS[job.request.tool]),
        spoiler=False,  # it shows what the member attached, not what came of it
    )
    return (*pictures, control)
