"""The messages of deleted jobs, which Discord is to delete too, as far as it still does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable

import discord

from bot.errors import StorageError
from bot.events import on_behalf_of
from bot.ladder import FAULTS, TOKEN_SECONDS
from bot.records import Job
from bot.storage import Storage

_log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two of them: the bot's other requests share its limits."""

AGAIN = 3600.0
"""Seconds after which it is tried again what a fault of Discord's stood in the way of."""

IN_VAIN = (400, 403, 404)
"""Statuses of what cannot be deleted, or is not there any more."""


class Removals:
    """Deletes messages one after the other, beside everything else.

    Those that all could see are noted in `storage` when their job is deleted, so that a later
    process goes on with them.
    """

    def __init__(self, client: discord.Client, storage: Storage) -> None:
        self._client = client
        self._storage = storage
        self._private: deque[Job] = deque()
        self._begun = asyncio.Event()

    def begin(self, jobs: Iterable[Job]) -> None:
        """Have the messages of jobs deleted that are themselves deleted already."""
        self._private.extend(job for job in jobs if job.origin.private)
        self._begun.set()

    async def run(self) -> None:
        """Delete what is noted, that of earlier processes first, until cancelled."""
        while True:
            self._begun.clear()
            try:
                await self._delete_private()  # first: these will soon be out of reach
                await self._delete_noted()
            except StorageError as error:
                _log.error("messages of deleted jobs stay for now: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN):
                    await self._begun.wait()

    async def _delete_private(self) -> None:
        while self._private:
            job = self._private.popleft()
            if time.time() - job.created_at < TOKEN_SECONDS:
                await self._delete_through_interaction(job)
                await asyncio.sleep(PAUSE)

    async def _delete_through_interaction(self, job: Job) -> None:
        origin = job.origin
        webhook = discord.Webhook.partial(origin.application_id, origin.token, client=self._client)
        try:
            await webhook.delete_message(origin.message_id)
        except FAULTS as error:
            with on_behalf_of(job):
                _log.info("job %d: its message could not be deleted: %s", job.id, error)

    async def _delete_noted(self) -> None:
        for channel_id, message_id in await self._storage.disposal.messages():
            if await self._is_settled(channel_id, message_id):
                await self._storage.disposal.strike_message(message_id)
            await asyncio.sleep(PAUSE)

    async def _is_settled(self, channel_id: int, message_id: int) -> bool:
        """Delete a message, and tell whether there is nothing left to be tried."""
        channel = self._client.get_partial_messageable(channel_id)
        try:
            await channel.get_partial_message(message_id).delete()
        except FAULTS as error:
            _log.info("message %d could not be deleted: %s", message_id, error)
            return isinstance(error, discord.HTTPException) and error.status in IN_VAIN
        return True
