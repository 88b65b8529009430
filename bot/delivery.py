"""Job events become edits of the job's message: progress throttled, the last word always."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace

import discord

from bot.inference.types import Progress, Queued
from bot.jobs import JobEvent
from bot.ladder import Controls, Ladder
from bot.records import Job
from bot.storage import Storage

PROGRESS_INTERVAL = 3.0
"""Seconds between two edits for progress: the edits of one channel share a rate limit."""


class _Progressing:
    """Progress of one job: the latest event and preview, and the task that edits them in."""

    def __init__(self, latest: Progress) -> None:
        self.latest = latest
        self.preview: bytes | None = None
        self.last_edit = 0.0
        self.ended = asyncio.Event()
        self.edit: asyncio.Task[None] | None = None


class Delivery:
    """Keeps the messages of jobs up to date; `controls` gives their buttons.

    `storage` keeps the nonces of those that are posted anew.
    """

    def __init__(self, client: discord.Client, controls: Controls, storage: Storage) -> None:
        self._ladder = Ladder(client, controls, storage)
        self._progressing: dict[int, _Progressing] = {}

    async def deliver(self, job: Job, event: JobEvent) -> bool:
        """Show an event in the job's message and tell whether Discord took it.

        Progress may be passed over; everything else is shown, after what was under way.
        """
        if isinstance(event, Progress):
            self._show_progress(job, event)
            return True
        if isinstance(event, Queued) and event.moved:
            return await self._ladder.show(job, event)
        progressing = self._progressing.pop(job.id, None)
        if progressing is not None and progressing.edit is not None:
            progressing.ended.set()
            await asyncio.wait({progressing.edit})
        return await self._ladder.bring(job, event)

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
        await self._ladder.show(job, replace(state.latest, preview=state.preview))
