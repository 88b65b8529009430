"""Buttons that hold a job's id, and so work after any restart."""

from __future__ import annotations

import re
from typing import Self

import discord

from bot.client import FluxBot, explain
from bot.cogs._mask_preview import MaskButton
from bot.cogs._settings_log import LogPage
from bot.cogs._settings_panel import Control
from bot.cogs.history import HistoryButton, HistorySelect
from bot.cogs.image_info import UndoButton
from bot.cogs.privacy import PrivacyButton
from bot.cogs.queue import NOT_TO_CANCEL, PageButton, cancelled_by, may_cancel
from bot.cogs.settings import ResetAll
from bot.errors import JobError
from bot.events import JobEvent
from bot.inference.types import Progress, Queued
from bot.records import Job


class CancelButton(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"cancel:(?P<job_id>\d+)"
):
    """Calls a job off, for its owner and for those who manage messages in the channel."""

    def __init__(self, job_id: int) -> None:
        super().__init__(
            discord.ui.Button(
                label="Cancel",
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
        """Cancel the job; discord.py only logs what a DynamicItem raises, so the funnel is here."""
        try:
            await self._cancel(interaction)
        except Exception as error:
            await explain(interaction, error)

    async def _cancel(self, interaction: discord.Interaction[FluxBot]) -> None:
        job = await interaction.client.storage.job(self._job_id)
        if not may_cancel(interaction, job):
            raise JobError(NOT_TO_CANCEL)
        await interaction.response.defer()
        await interaction.client.jobs.cancel(job.id, cancelled_by(interaction, job))


BUTTONS = (
    CancelButton,
    MaskButton,
    PageButton,
    Control,
    LogPage,
    ResetAll,
    HistoryButton,
    HistorySelect,
    UndoButton,
    PrivacyButton,
)


def controls(job: Job, event: JobEvent) -> discord.ui.View | None:
    """Return the buttons of a job's message after an event."""
    if not isinstance(event, Queued | Progress):
        return None
    return discord.ui.View(timeout=None).add_item(CancelButton(job.id))
