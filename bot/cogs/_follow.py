"""What the buttons below a result do, each as one step for whoever pressed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import discord

from bot import followups
from bot.client import FluxBot
from bot.cogs._history_view import job_message
from bot.cogs._pressed import inputs_of, picture_of
from bot.cogs._submit import acknowledge, random_seed, submit
from bot.cogs._visit import defaults
from bot.cogs.history import DELETED, LARGE, QUESTION, erase
from bot.cogs.image_info import job_arguments
from bot.cogs.queue import may_cancel
from bot.errors import Refused
from bot.followups import Growth, Variation
from bot.i18n import _
from bot.inference.masks import check_growth
from bot.inference.requests import check_quantization
from bot.inference.sweeps import compare as comparison
from bot.inference.types import Request
from bot.records import Job
from bot.thumbnails import thumbnails

Rows = list[list[discord.ui.Item[Any]]]


async def make_again(interaction: discord.Interaction[FluxBot], job: Job) -> None:
    """Make the pictures of a job for another seed."""
    images = await inputs_of(interaction, job)
    request = followups.again(job.request, random_seed())
    await follow(interaction, job, await free_quantization(interaction, request), images)


async def vary(
    interaction: discord.Interaction[FluxBot], job: Job, number: int, variation: Variation
) -> None:
    """Make a picture that is like one of a job."""
    picture, here = await picture_of(interaction, job, number), await defaults(interaction)
    request = followups.vary(
        here.family,
        variation,
        prompt=followups.description(here.family, job.request),
        seed=random_seed(),
        quantization=here.quantization,
    )
    await follow(interaction, job, request, {"image": picture})


async def make_larger(
    interaction: discord.Interaction[FluxBot], job: Job, number: int, growth: Growth
) -> None:
    """Paint what lies around a picture, or beside it."""
    picture, here = await picture_of(interaction, job, number), await defaults(interaction)
    assert job.outcome is not None
    width, height = job.outcome["size"]
    check_growth((width, height), followups.GROWTHS[growth])  # not only when its turn has come
    request = followups.grow(
        here.family, job.request, growth, seed=random_seed(), quantization=here.quantization
    )
    await follow(interaction, job, request, {"image": picture})


async def compare(interaction: discord.Interaction[FluxBot], job: Job, number: int) -> None:
    """Make one picture at 8 bits and in full precision, to be seen side by side."""
    images = await inputs_of(interaction, job)
    await follow(interaction, job, comparison(job.request, number), images)


async def free_quantization(interaction: discord.Interaction[FluxBot], request: Request) -> Request:
    """Return a request of an earlier time at the quantization that may be had here now."""
    here = await defaults(interaction)
    if not here.locked or request.quantization == here.quantization:
        return request
    return replace(request, quantization=check_quantization(here.quantization))


async def follow(
    interaction: discord.Interaction[FluxBot],
    job: Job,
    request: Request,
    images: Mapping[str, bytes],
) -> None:
    """Queue what was made of a job's request, as private and as hidden as the job was."""

    async def read() -> Mapping[str, bytes]:
        return images

    await submit(
        interaction,
        request,
        private=True if job.origin.private else None,
        spoiler=job.origin.spoiler,
        images=read,
    )


async def show_info(interaction: discord.Interaction[FluxBot], job: Job) -> None:
    """Show to who asks how the pictures of a job were made."""
    await acknowledge(interaction, private=True)
    await interaction.edit_original_response(**await job_arguments(interaction, job))


async def show_picture(
    interaction: discord.Interaction[FluxBot], job: Job, number: int, rows: Rows
) -> None:
    """Show one picture of several, with its buttons, to who chose it."""
    await picture_of(interaction, job, number)
    await acknowledge(interaction, private=True)
    small = await thumbnails(interaction.client.storage, job, side=LARGE, at_most=1, only=number)
    title = _("Picture {number} of job {job}", number=number, job=job.id)
    assert job.outcome is not None
    seeds = [job.outcome["seeds"][number - 1]]
    alone = replace(
        job,
        request=followups.alone(job.request, number),
        outcome={**job.outcome, "seeds": seeds},
    )
    arguments = job_message(alone, small, [discord.ui.ActionRow(*row) for row in rows], title)
    await interaction.edit_original_response(**arguments)


async def ask_to_delete(
    interaction: discord.Interaction[FluxBot], job: Job, button: discord.ui.Item[Any]
) -> None:
    """Ask who may delete a job whether it shall be deleted for good."""
    _check_may_delete(interaction, job)
    await acknowledge(interaction, private=True)
    large = await thumbnails(interaction.client.storage, job, side=LARGE, at_most=1)
    row: discord.ui.ActionRow[Any] = discord.ui.ActionRow(button)
    await interaction.edit_original_response(**job_message(job, large, [row], _(QUESTION)))


async def delete(interaction: discord.Interaction[FluxBot], job: Job) -> None:
    """Delete a job for good, with its messages."""
    _check_may_delete(interaction, job)
    await interaction.response.defer()
    await erase(interaction.client, job)
    said = discord.ui.LayoutView(timeout=None)
    said.add_item(discord.ui.TextDisplay(_(DELETED, id=job.id)))
    await interaction.edit_original_response(view=said, attachments=[])


def _check_may_delete(interaction: discord.Interaction[FluxBot], job: Job) -> None:
    """Raise Refused but for its owner, and who manages messages here."""
    if not may_cancel(interaction, job):
        raise Refused(
            _(
                "Only the member who asked for this, or someone who manages messages here, can"
                " delete it."
            ),
            _("Ask one of them."),
        )
