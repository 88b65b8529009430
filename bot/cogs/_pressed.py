"""The job of a button that was pressed, and its pictures, as far as they may be gone on with."""

from __future__ import annotations

import discord

from bot.client import FluxBot
from bot.errors import JobError, Refused, StorageError
from bot.i18n import _
from bot.records import Job
from bot.thumbnails import hidden


async def pressed_job(interaction: discord.Interaction[FluxBot], job_id: int) -> Job:
    """Return the job of a button; raise JobError where who presses it cannot see its message.

    A custom_id may be old or forged: what is private is for its member, anything else for those who
    are in its channel.
    """
    job = await interaction.client.storage.job(job_id)
    is_here = not job.origin.private and job.origin.channel_id == interaction.channel_id
    if job.origin.user_id != interaction.user.id and not is_here:
        raise JobError(_("This picture is not from here. Use the buttons below its own message."))
    return job


async def picture_of(interaction: discord.Interaction[FluxBot], job: Job, number: int) -> bytes:
    """Return the file of one picture; raise Refused for a hidden one, JobError if it has gone."""
    if number in hidden(job):
        raise Refused(
            _("This picture is not shown here, so nothing can be made of it."),
            _("Go on with another one."),
        )
    gone = JobError(
        _(
            "The pictures of job {job} are not kept any more. *Again* makes new ones of the same"
            " request.",
            job=job.id,
        )
    )
    storage = interaction.client.storage
    if job.outcome is None or not await storage.archive.has_pictures(job.id):
        raise gone
    try:
        return (await storage.result(job)).images[number - 1]
    except (StorageError, IndexError):
        raise gone from None


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
    if not is_own and not await storage.archive.was_made_in_public(job.id):
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
