"""The job of a button that was pressed, and its pictures, as far as they may be gone on with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import discord

from bot.client import FluxBot
from bot.errors import JobError, Refused, StorageError
from bot.fitting import decoded, encoded
from bot.i18n import N_, _
from bot.inference.images import MAX_BYTES
from bot.records import Job
from bot.thumbnails import hidden

QUALITY = 95
"""Of a WebP that stands for a PNG of more than 25 MB."""
ELSEWHERE = N_("This picture is not from here. Use the buttons below its own message.")


async def pressed_job(interaction: discord.Interaction[FluxBot], job_id: int) -> Job:
    """Return the job of a button; raise JobError where who presses it cannot see its message.

    A custom_id may be old or forged: what is private is for its member, anything else for those who
    are in its channel.
    """
    job = await interaction.client.storage.job(job_id)
    is_here = not job.origin.private and job.origin.channel_id == interaction.channel_id
    if job.origin.user_id != interaction.user.id and not is_here:
        raise JobError(_(ELSEWHERE))
    if job.outcome is None:  # it was not kept, and its row says why
        raise JobError(job.error or _(ELSEWHERE))
    return job


def chosen(interaction: discord.Interaction[FluxBot]) -> str:
    """Return what was chosen in a select of one; what is no single value is none that was there."""
    data = cast(Mapping[str, Any], interaction.data)
    return "".join(data.get("values", ())[:1])


async def picture_of(interaction: discord.Interaction[FluxBot], job: Job, number: int) -> bytes:
    """Return the file of one picture, counted from 1, not larger than what is read of any image.

    Raises Refused for a hidden one, JobError if it has gone.
    """
    if number in hidden(job):
        raise Refused(
            _("This picture is not shown here, so nothing can be made of it."),
            _("Go on with another one."),
        )
    storage = interaction.client.storage
    kept = {each.position: each for each in await storage.images(job.id) if each.bytes}
    try:
        content = await asyncio.to_thread(kept[number].path.read_bytes)
    except (KeyError, OSError):
        raise JobError(
            _(
                "The pictures of job {job} are not kept any more. *Again* makes new ones of the"
                " same request.",
                job=job.id,
            )
        ) from None
    return content if len(content) <= MAX_BYTES else await asyncio.to_thread(_smaller, content)


def _smaller(content: bytes) -> bytes:
    """Return a picture as a file that is read again, which loses next to nothing of it."""
    picture = decoded(content)
    smaller = encoded(picture, "WebP", QUALITY) if picture else None
    return smaller or content


async def inputs_of(interaction: discord.Interaction[FluxBot], job: Job) -> dict[str, bytes]:
    """Return the images that a job was made from.

    Raises Refused where another member attached them: who makes a job once more has its images in
    their own history. What was public as a result is not theirs alone. Raises JobError where they
    are not kept.
    """
    storage = interaction.client.storage
    if not job.inputs:
        return {}
    is_own = job.origin.user_id == interaction.user.id
    if not is_own and not await _was_made_in_public(interaction, job):
        raise Refused(
            _("Another member attached images to this, which stay theirs."),
            _("Go on with the picture itself: vary, edit or repaint it."),
        )
    try:
        return await storage.inputs(job.id)
    except StorageError as error:
        raise JobError(
            _(
                "The images that were attached to this are not kept any more. Attach them to a new"
                " command."
            )
        ) from error


async def _was_made_in_public(interaction: discord.Interaction[FluxBot], job: Job) -> bool:
    """Tell whether all images of a job were results that its channel has seen.

    A mask that was found by words shows no more than they say.
    """
    storage, names = interaction.client.storage, set(job.inputs)
    if job.request.region is not None and job.request.region.words is not None:
        names.discard("mask")
    for name, source_id, position in await storage.history.public_sources(job.id):
        if position not in hidden(await storage.job(source_id)):
            names.discard(name)
    return not names
