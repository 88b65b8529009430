"""Buttons that hold a job's id, and so work after any restart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self, cast

import discord

from bot.client import FluxBot, answering
from bot.cogs._mask_preview import MaskButton
from bot.cogs._results import PictureSelect, ResultButton, result_rows
from bot.cogs._settings_log import LogPage
from bot.cogs._settings_panel import Control
from bot.cogs.help import TopicSelect
from bot.cogs.history import HistoryButton, HistorySelect
from bot.cogs.image_info import UndoButton
from bot.cogs.privacy import PrivacyButton
from bot.cogs.queue import NOT_TO_CANCEL, PageButton, cancelled_by, may_cancel
from bot.cogs.settings import ResetAll
from bot.errors import JobError
from bot.events import JobEvent
from bot.i18n import N_, _
from bot.inference.types import Progress, Queued, Result
from bot.records import Job


class CancelButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"cancel:(?P<job_id>\d{1,18})",
):
    """Calls a job off, for its owner and for those who manage messages in the channel."""

    def __init__(self, job_id: int) -> None:
        super().__init__(
            discord.ui.Button(
                label=_("Cancel"),
                style=discord.ButtonStyle.secondary,
                custom_id=f"cancel:{job_id}",
            )
        )
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
        """Cancel the job."""
        async with answering(interaction):
            await self._cancel(interaction)

    async def _cancel(self, interaction: discord.Interaction[FluxBot]) -> None:
        job = await interaction.client.storage.job(self._job_id)
        if not may_cancel(interaction, job):
            raise JobError(_(NOT_TO_CANCEL))
        await interaction.response.defer()
        await interaction.client.jobs.cancel(job.id, cancelled_by(interaction, job))


BUTTONS = (
    CancelButton,
    MaskButton,
    ResultButton,
    PictureSelect,
    PageButton,
    Control,
    LogPage,
    ResetAll,
    HistoryButton,
    HistorySelect,
    UndoButton,
    PrivacyButton,
    TopicSelect,
)

UNKNOWN = N_("This button is of another version of the bot. Please give its command once more.")


async def answer_unknown(interaction: discord.Interaction[FluxBot]) -> None:
    """Answer what none of the buttons takes, of which Discord would only say that it failed."""
    custom_id = cast(Mapping[str, Any], interaction.data or {}).get("custom_id", "")
    if interaction.type is not discord.InteractionType.component:
        return
    templates = (each.__discord_ui_compiled_template__ for each in BUTTONS)
    if not any(template.fullmatch(custom_id) for template in templates):
        async with answering(interaction):
            raise JobError(_(UNKNOWN))


def controls(job: Job, event: JobEvent) -> list[list[discord.ui.Item[Any]]]:
    """Return the buttons of a job's message after an event, row by row."""
    if isinstance(event, Queued | Progress):
        return [[CancelButton(job.id)]]
    if isinstance(event, Result):
        seeds = event.seeds
        return result_rows(job, seeds, job.origin.look.hidden(event.unsafe, len(seeds)))
    return []
