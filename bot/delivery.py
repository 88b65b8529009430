"""Job events become edits of the job's message: progress throttled, the last word always."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import aiohttp
import discord

from bot.fitting import fitted
from bot.inference.types import Progress
from bot.jobs import JobEvent
from bot.messages import Message, compose
from bot.records import DEFAULT_FILESIZE_LIMIT, Job

_log = logging.getLogger(__name__)

FAULTS = (discord.DiscordException, aiohttp.ClientError, OSError)
"""What a request to Discord may end in."""

PROGRESS_INTERVAL = 1.5
"""Seconds between two edits for progress: the edits of one channel share a rate limit."""

EXPIRED_TOKEN = {10015, 50027}
"""Discord's codes for an interaction token that is older than its fifteen minutes."""

TOO_LARGE = 413
"""Discord's status for a file above the limit, which is that of the member as long as the answer
goes through the interaction, and that of the server for a message of the bot's own."""

RETRY_SECONDS = (1.0, 4.0)
"""Pauses before the last word is tried again: discord.py does not retry a connection reset on
Linux, nor a 5xx of a channel message. An edit may be repeated without harm."""

RETRY_LIMIT = 20.0
"""Seconds after which the last word is not tried again: discord.py itself has then tried a webhook
five times, for 25 s."""

Controls = Callable[[Job, JobEvent], discord.ui.View | None]


class _Progressing:
    """Progress of one job: the latest event and preview, and the task that edits them in."""

    def __init__(self, latest: Progress) -> None:
        self.latest = latest
        self.preview: bytes | None = None
        self.last_edit = 0.0
        self.ended = asyncio.Event()
        self.edit: asyncio.Task[None] | None = None


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
            progressing.ended.set()
            await asyncio.wait({progressing.edit})
        return await self._edit_for_certain(job, event)

    def _show_progress(self, job: Job, event: Progress) -> None:
        state = self._progressing.setdefault(job.id, _Progressing(event))
        state.latest = event
        # an edit replaces all files: without the last preview it would take that one away
        state.preview = event.preview or state.preview
        if state.edit is None or state.edit.done():
            state.edit = asyncio.create_task(
                self._edit_latest(job, state), name=f"progress of job {job.id}"
            )

    async def _edit_latest(self, job: Job, state: _Progressing) -> None:
        """Wait until the interval is over or the job has ended, then show where it is."""
        # perf_counter: the simulated Discord of tests and playground stops the other clocks
        pause = state.last_edit + PROGRESS_INTERVAL - time.perf_counter()
        if pause > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await state.ended.wait()
                    return
        state.last_edit = time.perf_counter()
        try:
            event = replace(state.latest, preview=state.preview)
            await self._edit(job, compose(job, event), self._controls(job, event))
        except FAULTS as error:
            _log.warning("job %d: its progress could not be shown: %s", job.id, error)

    async def _edit_for_certain(self, job: Job, event: JobEvent) -> bool:
        message = await fitted(compose(job, event), job.origin.filesize_limit)
        began = time.perf_counter()
        for pause in (*RETRY_SECONDS, None):
            if self._client.is_closed():
                return False  # it has no session any more, as after the gateway refused the token
            try:
                await self._edit(job, message, self._controls(job, event))
                return True
            except FAULTS as error:
                _log.warning("job %d: its message could not be edited: %s", job.id, error)
                if isinstance(error, discord.HTTPException) and error.status == TOO_LARGE:
                    whole, message = message, await fitted(message, DEFAULT_FILESIZE_LIMIT)
                    if message is not whole:
                        continue
                late = time.perf_counter() - began > RETRY_LIMIT
                if pause is None or late or not _may_pass(error):
                    return False
                await asyncio.sleep(pause)
        return False

    async def _edit(self, job: Job, message: Message, controls: discord.ui.View | None) -> None:
        try:
            await self._edit_through_interaction(job, message, controls)
        except discord.HTTPException as error:
            if error.code not in EXPIRED_TOKEN or job.origin.private:
                raise
            await self._edit_as_bot(job, message, controls)

    async def _edit_through_interaction(
        self, job: Job, message: Message, controls: discord.ui.View | None
    ) -> None:
        webhook = discord.Webhook.partial(
            job.origin.application_id, job.origin.token, client=self._client
        )
        await webhook.edit_message(job.origin.message_id, view=controls, **message.arguments())

    async def _edit_as_bot(
        self, job: Job, message: Message, controls: discord.ui.View | None
    ) -> None:
        channel = self._client.get_partial_messageable(
            job.origin.channel_id, guild_id=job.origin.guild_id
        )
        own = channel.get_partial_message(job.origin.message_id)
        await own.edit(view=controls, **message.arguments())


def _may_pass(error: Exception) -> bool:
    """Tell whether the same request may succeed a little later."""
    return not isinstance(error, discord.HTTPException) or error.status in (429, 500, 502, 503, 504)
