"""Job events become edits of the job's message: progress throttled, the last word always."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import aiohttp
import discord

from bot.inference.types import Progress
from bot.jobs import JobEvent
from bot.messages import Message, compose
from bot.storage import Job

_log = logging.getLogger(__name__)

PROGRESS_INTERVAL = 1.5
"""Seconds between two edits for progress: the edits of one channel share a rate limit."""

EXPIRED_TOKEN = {10015, 50027}
"""Discord's codes for an interaction token that is older than its fifteen minutes."""

Controls = Callable[[Job, JobEvent], discord.ui.View | None]


@dataclass(slots=True)
class _Progressing:
    """Progress of one job: when the last edit began, the one under way, the last preview."""

    began: float = 0.0
    edit: asyncio.Task[bool] | None = None
    preview: bytes | None = None


class Delivery:
    """Keeps the messages of jobs up to date; `controls` gives their buttons."""

    def __init__(self, client: discord.Client, controls: Controls) -> None:
        self._client = client
        self._controls = controls
        self._progressing: dict[int, _Progressing] = {}

    async def deliver(self, job: Job, event: JobEvent) -> bool:
        """Show an event in the job's message and tell whether Discord took it.

        Progress may be passed over; everything else is shown, after what was under way.
        """
        if isinstance(event, Progress):
            self._show_progress(job, event)
            return True
        progressing = self._progressing.pop(job.id, None)
        if progressing is not None and progressing.edit is not None:
            await asyncio.wait({progressing.edit})
        return await self._edit(job, event)

    def _show_progress(self, job: Job, event: Progress) -> None:
        state = self._progressing.setdefault(job.id, _Progressing())
        # perf_counter: the simulated Discord of tests and playground stops the other clocks
        now = time.perf_counter()
        # an edit replaces all files: without the last preview it would take that one away
        state.preview = event.preview or state.preview
        if now - state.began < PROGRESS_INTERVAL or (state.edit and not state.edit.done()):
            return
        state.began = now
        state.edit = asyncio.create_task(
            self._edit(job, replace(event, preview=state.preview)), name=f"progress of job {job.id}"
        )

    async def _edit(self, job: Job, event: JobEvent) -> bool:
        message, controls = compose(job, event), self._controls(job, event)
        try:
            try:
                await self._edit_through_interaction(job, message, controls)
            except discord.HTTPException as error:
                if error.code not in EXPIRED_TOKEN or job.origin.private:
                    raise
                await self._edit_as_bot(job, message, controls)
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
            _log.warning("job %d: its message could not be edited: %s", job.id, error)
            return False
        return True

    async def _edit_through_interaction(
        self, job: Job, message: Message, controls: discord.ui.View | None
    ) -> None:
        webhook = discord.Webhook.partial(
            job.origin.application_id, job.origin.token, client=self._client
        )
        await webhook.edit_message(
            job.origin.message_id,
            embed=message.embed,
            attachments=[each.to_file() for each in message.attachments],
            view=controls,
            allowed_mentions=discord.AllowedMentions.none(),
        )

    async def _edit_as_bot(
        self, job: Job, message: Message, controls: discord.ui.View | None
    ) -> None:
        channel = self._client.get_partial_messageable(
            job.origin.channel_id, guild_id=job.origin.guild_id
        )
        await channel.get_partial_message(job.origin.message_id).edit(
            embed=message.embed,
            attachments=[each.to_file() for each in message.attachments],
            view=controls,
            allowed_mentions=discord.AllowedMentions.none(),
        )
