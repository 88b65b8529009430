"""What `/fill` will repaint, shown before it does: its buttons adjust the mask or have it painted.

The preview is a draft in the database, so that its buttons outlive the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Literal, Self, cast

import discord

from bot.client import FluxBot, answering
from bot.cogs._attachments import read
from bot.cogs._submit import ReadImages, acknowledge, origin
from bot.cogs._visit import visit
from bot.errors import JobError, RequestError, StorageError
from bot.i18n import N_, _, number, speaking
from bot.inference.types import ADJUSTMENTS, Adjustment, Region, Request
from bot.ladder import FAULTS
from bot.messages import draft_ended, draft_painted, mask_preview, starting
from bot.records import Draft
from bot.rendering import Rows

_log = logging.getLogger(__name__)

LIFETIME = 600.0
"""Seconds. Its message can be edited for fifteen minutes: that leaves time to say that it is over,
also after a restart."""

SWEEP_SECONDS = 15.0
"""Between two looks for previews that have expired."""

MAX_ADJUSTMENTS = 12
"""All of them are worked out anew at every click, and once more in full size."""

Verb = Literal["paint", "undo", "cancel"] | Adjustment

LABELS: Mapping[Verb, str] = {
    "grow": N_("Grow"),
    "shrink": N_("Shrink"),
    "feather": N_("Feather"),
    "invert": N_("Invert"),
    "paint": N_("Paint it"),
    "undo": N_("Undo"),
    "cancel": N_("Cancel"),
}

EXPIRED = N_("This preview has expired, and nothing was painted. Please begin once more.")
CANCELLED = N_("Cancelled: nothing is painted.")


async def show_preview(
    interaction: discord.Interaction[FluxBot],
    request: Request,
    attachments: Mapping[str, discord.Attachment] | None = None,
    *,
    private: bool | None,
    spoiler: bool,
    images: ReadImages | None = None,
) -> None:
    """Answer the member alone with the mask laid over the image, and keep the request as a draft.

    The attachments become the images of the request, or `images` reads these from elsewhere.
    `private` and `spoiler` are for what is painted: the preview is private in any case.
    """
    bot = interaction.client
    async with bot.policy.admission(
        visit(interaction), request, private=private, spoiler=spoiler
    ) as admission:
        message_id = await acknowledge(interaction, private=True)
        region = request.region
        assert region is not None
        files = await (images() if images is not None else read(attachments or {}))
        files = await with_found_mask(bot, region, files)
        request = replace(admission.request, images=files)
        picture = await bot.previews.render(files["image"], files.get("mask"), region)
        asked = origin(interaction, message_id, admission)
        draft = await bot.storage.drafts.add(request, asked)
        message = mask_preview(draft, picture)
        await interaction.edit_original_response(**message.arguments(_buttons(draft)))


async def with_found_mask(
    bot: FluxBot, region: Region, images: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    """Return the images of a request, with the mask of what the words of its region name."""
    if region.words is None or "mask" in images:
        return images
    return {**images, "mask": await bot.finder.find(images["image"], region.words)}


class MaskButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=rf"mask:(?P<verb>{'|'.join(LABELS)}):(?P<draft_id>\d{{1,18}})",
):
    """One button of a preview, for the member who asked for it."""

    def __init__(self, verb: Verb, draft_id: int, *, disabled: bool = False) -> None:
        style = discord.ButtonStyle.primary if verb == "paint" else discord.ButtonStyle.secondary
        super().__init__(
            discord.ui.Button(
                label=_(LABELS[verb]),
                style=style,
                custom_id=f"mask:{verb}:{draft_id}",
                disabled=disabled,
                row=0 if verb in ADJUSTMENTS else 1,
            )
        )
        self._verb = verb
        self._draft_id = draft_id

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls,
        interaction: discord.Interaction[FluxBot],
        item: discord.ui.Button[discord.ui.View],
        match: re.Match[str],
    ) -> Self:
        """Rebuild the button from a message, whichever process sent it."""
        return cls(cast(Verb, match["verb"]), int(match["draft_id"]))

    async def callback(self, interaction: discord.Interaction[FluxBot]) -> None:  # type: ignore[override]
        """Act on the draft."""
        async with answering(interaction):
            await self._act(interaction)

    async def _act(self, interaction: discord.Interaction[FluxBot]) -> None:
        draft = await interaction.client.storage.drafts.get(self._draft_id)
        if interaction.user.id != draft.origin.user_id:
            raise JobError(_("Only the member who asked for this preview can use its buttons."))
        match self._verb:
            case "paint":
                await _paint(interaction, draft.id)
            case "cancel":
                await _cancel(interaction, draft.id)
            case "undo":
                await _adjust(interaction, draft.id, _one_less)
            case adjustment:
                await _adjust(interaction, draft.id, partial(_one_more, adjustment))


def _buttons(draft: Draft) -> Rows:
    assert draft.request.region is not None
    nothing_made = not draft.request.region.adjustments
    buttons = [
        MaskButton(verb, draft.id, disabled=verb == "undo" and nothing_made) for verb in LABELS
    ]
    return [buttons[: len(ADJUSTMENTS)], buttons[len(ADJUSTMENTS) :]]


def _turn(bot: FluxBot, draft_id: int) -> asyncio.Lock:
    """Return what lets one click on a draft wait for the other, so that none is lost."""
    return bot.draft_turns.setdefault(draft_id, asyncio.Lock())


async def _adjust(
    interaction: discord.Interaction[FluxBot], draft_id: int, change: Callable[[Region], Region]
) -> None:
    """Show the mask with its adjustments changed; what cannot be shown is not kept."""
    await interaction.response.defer()
    bot = interaction.client
    async with _turn(bot, draft_id):
        draft = await bot.storage.drafts.get(draft_id)
        assert draft.request.region is not None
        region = change(draft.request.region)
        images = await bot.storage.drafts.images(draft_id)
        picture = await bot.previews.render(images["image"], images.get("mask"), region)
        draft = await bot.storage.drafts.adjust(draft_id, region.adjustments)
        message = mask_preview(draft, picture)
        await interaction.edit_original_response(**message.arguments(_buttons(draft)))


def _one_more(adjustment: Adjustment, region: Region) -> Region:
    made = region.adjustments
    if adjustment == "invert" and made[-1:] == ("invert",):
        return replace(region, adjustments=made[:-1])
    if len(made) == MAX_ADJUSTMENTS:
        raise RequestError(
            _("A mask can be adjusted {most} times.", most=number(MAX_ADJUSTMENTS)),
            _("Paint it as it is, or start again with another mask."),
        )
    return replace(region, adjustments=(*made, adjustment))


def _one_less(region: Region) -> Region:
    if not region.adjustments:
        raise RequestError(
            _("There is nothing to undo: the mask is as it was."), _("Adjust it, or paint it.")
        )
    return replace(region, adjustments=region.adjustments[:-1])


async def _paint(interaction: discord.Interaction[FluxBot], draft_id: int) -> None:
    """Make the draft a job, and give the buttons back if that fails.

    The answer to the click takes them away. As an edit it leaves the next message free to be
    public; Discord gives the first one after a mere acknowledgement the privacy of that.
    """
    bot = interaction.client
    async with _turn(bot, draft_id):
        draft = await bot.storage.drafts.get(draft_id)
        try:
            await interaction.response.edit_message(**draft_painted(draft).arguments())
            async with _message_for(interaction, draft) as message_id:
                await _submit(interaction, draft, message_id)
        except Exception:
            again = mask_preview(draft).arguments(_buttons(draft))
            with contextlib.suppress(*FAULTS):
                await interaction.edit_original_response(**again)
            raise
        await bot.storage.drafts.remove(draft_id)


@asynccontextmanager
async def _message_for(
    interaction: discord.Interaction[FluxBot], draft: Draft
) -> AsyncIterator[int]:
    """Give the message that the job shall have: this one if it is private, else a public one.

    That one is taken back if there is no job after all: it would say for ever that it is starting.
    """
    if draft.origin.private:
        assert interaction.message is not None
        yield interaction.message.id
        return
    message = await interaction.followup.send(embed=starting(draft.request), wait=True)
    try:
        yield message.id
    except Exception:
        with contextlib.suppress(*FAULTS):
            await message.delete()
        raise


async def _submit(interaction: discord.Interaction[FluxBot], draft: Draft, message_id: int) -> None:
    bot, asked = interaction.client, draft.origin
    request = replace(draft.request, images=await bot.storage.drafts.images(draft.id))
    # the rules may have changed since; the cooldown has counted the preview
    async with bot.policy.admission(
        visit(interaction), request, private=asked.private, spoiler=asked.spoiler, counts=False
    ) as admission:
        await bot.jobs.submit(
            admission.request,
            origin(interaction, message_id, admission),
            limits=admission.limits,
        )


async def _cancel(interaction: discord.Interaction[FluxBot], draft_id: int) -> None:
    bot = interaction.client
    async with _turn(bot, draft_id):
        draft = await bot.storage.drafts.get(draft_id)
        await bot.storage.drafts.remove(draft_id)
        message = draft_ended(draft, _(CANCELLED))
        await interaction.response.edit_message(**message.arguments())


async def end_expired_previews(bot: FluxBot) -> None:
    """End what is too old, also what an earlier process has left, again and again until cancelled.

    No `discord.ext.tasks` loop: the simulated Discord of tests and playground would wait for it.
    """
    begun: dict[int, float] | None = None
    while True:
        try:
            drafts = await bot.storage.drafts.all()
            if begun is None:  # of an earlier process only the time of day tells
                begun = {draft.id: _begun(draft) for draft in drafts}
            # of this one it does not: it may be set, forward or back, at any moment
            begun = {draft.id: begun.get(draft.id, time.perf_counter()) for draft in drafts}
            for draft in drafts:
                if time.perf_counter() - begun[draft.id] > LIFETIME:
                    await _expire(bot, draft)
        except StorageError as error:  # the disk may have room again the next time
            _log.error("previews could not be ended: %s", error)
        await asyncio.sleep(SWEEP_SECONDS)


def _begun(draft: Draft) -> float:
    """Return when a preview was made, by `time.perf_counter`, as far as the clock tells."""
    return time.perf_counter() - max(0.0, time.time() - draft.created_at)


async def _expire(bot: FluxBot, draft: Draft) -> None:
    async with _turn(bot, draft.id):
        with contextlib.suppress(JobError):  # painted or cancelled in the last moment
            await bot.storage.drafts.remove(draft.id)
            await _say_expired(bot, draft)


async def _say_expired(bot: FluxBot, draft: Draft) -> None:
    asked = draft.origin
    webhook = discord.Webhook.partial(asked.application_id, asked.token, client=bot)
    with speaking(asked.look.language):
        message = draft_ended(draft, _(EXPIRED))
    try:
        await webhook.edit_message(asked.message_id, **message.arguments())
    except FAULTS as error:
        # the member has closed it, or the bot was away for longer than it can be edited
        _log.info("draft %d: its end could not be shown: %s", draft.id, error)
