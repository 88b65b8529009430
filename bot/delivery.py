"""Job events become edits of the job's message: progress throttled, the last word always.

What everybody may see is copied to the archive of its server, beside all that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from weakref import WeakValueDictionary

import discord

from bot.errors import StorageError
from bot.events import Ended, JobEvent, on_behalf_of
from bot.fitting import fitted
from bot.i18n import speaking
from bot.inference.types import Progress, Queued, Result
from bot.ladder import FAULTS, Arrival, Controls, Ladder
from bot.messages import archived
from bot.records import Job
from bot.storage import Storage

_log = logging.getLogger(__name__)

PROGRESS_INTERVAL = 3.0
"""Seconds between two edits for progress: the edits of one channel share a rate limit."""

FAREWELL = 5.0
"""Seconds that copies for archives have when the bot stops."""

ARCHIVES = (discord.TextChannel, discord.Thread, discord.VoiceChannel, discord.StageChannel)
"""What an archive may be: all that has messages in a server."""


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
        self._client = client
        self._storage = storage
        self._ladder = Ladder(client, controls, storage)
        self._copies: set[asyncio.Task[None]] = set()
        self._progressing: dict[int, _Progressing] = {}
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        """For each job whose message is being edited: one edit waits for the other."""

    @property
    def arrivals(self) -> Mapping[str, int]:
        """How many events came by each rung of the ladder, and `none` of them."""
        return self._ladder.arrivals

    async def deliver(self, job: Job, event: JobEvent) -> bool:
        """Show an event in the job's message and tell whether Discord took it.

        Progress may be passed over; everything else is shown, after what was under way.
        """
        with on_behalf_of(job):
            return await self._deliver(job, event)

    async def _deliver(self, job: Job, event: JobEvent) -> bool:
        if isinstance(event, Progress):
            self._show_progress(job, event)
            return True
        if progressing := self._progressing.pop(job.id, None):
            progressing.ended.set()
        if isinstance(event, Ended) and event.silent:
            return True
        async with self._turn(job):
            if isinstance(event, Queued) and event.moved:
                return await self._ladder.show(job, event)
            arrival = await self._ladder.bring(job, event)
        if arrival and isinstance(event, Result) and _is_for_the_archive(job, arrival):
            # beside this: the archive is nothing that the queue or the member waits for
            copy = asyncio.create_task(self._archive(job, arrival), name=f"copy of job {job.id}")
            self._copies.add(copy)
            copy.add_done_callback(self._copies.discard)
        return arrival is not None

    async def close(self) -> None:
        """Wait for the copies that are under way to archives, though not for long."""
        if self._copies:
            _, late = await asyncio.wait(self._copies, timeout=FAREWELL)
            for copy in late:
                copy.cancel()

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
        async with self._turn(job):
            if state.ended.is_set():
                return
            state.last_edit = time.perf_counter()
            await self._ladder.show(job, replace(state.latest, preview=state.preview))

    def _turn(self, job: Job) -> asyncio.Lock:
        return self._turns.setdefault(job.id, asyncio.Lock())

    async def _archive(self, job: Job, arrival: Arrival) -> None:
        """Post the copy of a result in the archive of its server, once; a fault is only logged."""
        origin = job.origin
        assert origin.look.archive_channel_id is not None
        await self._client.wait_until_ready()  # after a restart it does not know its channels yet
        archive = self._client.get_channel(origin.look.archive_channel_id)
        # settings may have come from another server, where the bot is too
        if not isinstance(archive, ARCHIVES) or archive.guild.id != origin.guild_id:
            _log.warning("job %d: not archived: its server has no such channel", job.id)
            return
        if origin.look.age_restricted and not archive.is_nsfw():
            _log.info("job %d: not archived: only its own channel is age-restricted", job.id)
            return
        try:
            settings = await self._storage.settings.at(origin.guild_id)
            with speaking(settings.language or job.language):
                copy = archived(job, arrival.message, arrival.posted.jump_url)
                copy = await fitted(copy, archive.guild.filesize_limit)
                arguments = copy.new_arguments()
            if self._client.is_closed():
                return
            post = await archive.send(nonce=f"archive-{job.id}", **arguments)
            await self._storage.history.note_post(job.id, archive.id, post.id)
        except (*FAULTS, StorageError) as error:
            _log.warning("job %d: not archived: %s", job.id, error)


def _is_for_the_archive(job: Job, arrival: Arrival) -> bool:
    """Tell whether a server's archive gets a copy: of pictures that all in a channel may see."""
    origin = job.origin
    return (
        origin.guild_id is not None
        and not origin.private
        and origin.look.archive_channel_id not in (None, origin.channel_id)
        and arrival.posted.channel.id == origin.channel_id
        and bool(arrival.message.attachments)
    )
