"""The messages of deleted jobs, which Discord is to delete too, as far as it still does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice

import discord

from bot.ladder import FAULTS, TOKEN_SECONDS
from bot.records import Job

_log = logging.getLogger(__name__)

MOST = 500
"""Messages of one member that are deleted, the latest ones: Discord is slow with old ones."""

PAUSE = 1.0
"""Seconds between two of them: the bot's other requests share its limits."""


class Removals:
    """Deletes messages one after the other, beside everything else."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        self._jobs: deque[Job] = deque()
        self._added = asyncio.Event()

    def add(self, jobs: Iterable[Job]) -> None:
        """Have the messages of jobs deleted, the latest of which comes first."""
        self._jobs.extend(islice(jobs, MOST))
        self._added.set()

    async def run(self) -> None:
        """Delete what was added, until cancelled."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._jobs:
                await remove_message(self._client, self._jobs.popleft())
                await asyncio.sleep(PAUSE)


async def remove_message(client: discord.Client, job: Job) -> None:
    """Delete the bot's message for a job; one that is seen by its member alone only soon after."""
    origin = job.origin
    try:
        if not origin.private:
            channel = client.get_partial_messageable(origin.channel_id, guild_id=origin.guild_id)
            await channel.get_partial_message(origin.message_id).delete()
        elif time.time() - job.created_at < TOKEN_SECONDS:
            webhook = discord.Webhook.partial(origin.application_id, origin.token, client=client)
            await webhook.delete_message(origin.message_id)
    except FAULTS as error:
        _log.info("job %d: its message could not be deleted: %s", job.id, error)
