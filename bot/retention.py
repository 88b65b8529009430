"""Nothing is kept for longer than it should be: a sweep a day deletes what has had its time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from bot.errors import StorageError
from bot.leavers import Leavers
from bot.settings import DAY
from bot.storage import Storage

_log = logging.getLogger(__name__)

FIRST = 120.0
"""Seconds until the first sweep, so that a start is not slowed down."""

ORPHANED = 3600.0
"""Seconds after which a file that no row names is none that is just being written."""

CHANGES_KEPT = 365 * DAY
"""How long it is told who changed a setting."""

USAGE_KEPT = 30 * DAY
"""How long seconds of the GPU are kept; limits look back for one day."""

JUMP = 3600.0
"""Seconds by which the clock may go otherwise than time does between two looks at it."""


class Retention:
    """Keeps the data folder in its bounds; with `limit` its files have so many bytes at most."""

    def __init__(
        self,
        storage: Storage,
        leavers: Leavers,
        limit: int | None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._storage = storage
        self._leavers = leavers
        self._limit = limit
        self._clock = clock
        self._steady = steady
        self._offset = clock() - steady()

    async def run(self) -> None:
        """Sweep a little after the start, and then once a day, until cancelled."""
        await asyncio.sleep(FIRST)
        while True:
            try:
                await self.sweep()
            except StorageError as error:  # the disk may be well again tomorrow
                _log.error("what is too old could not be deleted: %s", error)
            await asyncio.sleep(DAY)

    async def sweep(self) -> None:
        """Delete what is too old or too much, unless the clock has jumped since the last look."""
        if self._clock_has_jumped():
            _log.warning("the clock has jumped: what is too old is deleted tomorrow")
            return
        now, disposal = self._clock(), self._storage.disposal
        await disposal.remove_orphans(now - ORPHANED)
        for guild_id in await self._storage.history.guild_ids():
            await self._delete_expired(guild_id, now)
        await self._leavers.sweep()
        await disposal.delete_records(
            changed_before=now - CHANGES_KEPT, used_before=now - USAGE_KEPT
        )
        await disposal.forget_members(now - DAY)
        if self._limit is not None and (emptied := await disposal.delete_files(self._limit)):
            _log.info("the files of the %d oldest jobs are deleted, to stay in bounds", emptied)
        await disposal.forget()

    async def _delete_expired(self, guild_id: int, now: float) -> None:
        days = (await self._storage.settings.at(guild_id)).keep_days
        if not days:
            return
        deleted = await self._storage.disposal.delete_expired(guild_id, now - days * DAY)
        if deleted:
            _log.info("server %d: %d jobs older than %d days deleted", guild_id, deleted, days)

    def _clock_has_jumped(self) -> bool:
        """Compare the clock with the time that has passed, and take it as it is from now on."""
        before, self._offset = self._offset, self._clock() - self._steady()
        return abs(self._offset - before) > JUMP
