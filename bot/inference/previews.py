"""Mask previews beside a busy GPU: drawn in a light process of their own, without torch.

Not in the worker, which may be busy for a minute, and not in the process that talks to Discord:
what a member attached is decoded there by libraries in C, and one that is made to crash them takes
along no more than this process, which is then started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Self

import psutil

from bot.errors import UnusableImage
from bot.inference.types import Region

_log = logging.getLogger(__name__)

MEMORY = 1024**3
"""Bytes of address space for pictures: 40 megapixels with transparency took 654 MB as WebP, 485 MB
as AVIF and 333 MB as PNG on their way through the decoder."""

SECONDS = 20.0
"""How long a preview may take: 40 megapixels took 1.1 s at most."""


class MaskPreviews:
    """Draws one preview at a time, in a process that is started ahead of need."""

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds = seconds
        self._memory = memory
        self._turn = asyncio.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._warming: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The ids of the processes that run now."""
        return tuple(self._pool._processes or ()) if self._pool else ()

    async def render(self, image: bytes, mask: bytes | None, region: Region) -> bytes:
        """Return the picture with its mask laid over it, as `masks.preview` does.

        Raises UnusableImage also where a file takes too long, or breaks the process.
        """
        async with self._turn:
            for _ in range(2):
                pool = await self._ready()
                try:
                    drawing = pool.submit(_draw, image, mask, region)
                except BrokenProcessPool:
                    # it died while nobody drew: by the hand of the system, no picture's fault
                    await self._replace()
                    continue
                try:
                    return await asyncio.wait_for(asyncio.wrap_future(drawing), self._seconds)
                except TimeoutError as error:
                    _log.warning("a mask preview took more than %g s", self._seconds)
                    await self._replace()
                    raise _unusable("takes too long to read") from error
                except BrokenProcessPool as error:
                    _log.warning("the process of the mask previews ended while it drew one")
                    await self._replace()
                    raise _unusable("could not be read") from error
                except asyncio.CancelledError:
                    # nobody waits for it, but the next one would
                    await self._replace()
                    raise
            raise _unusable("could not be read")

    def _open(self) -> None:
        """Start a process without waiting for it, and not in the loop: that takes a while."""
        pool = self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._memory,),
        )
        self._warming = asyncio.get_running_loop().run_in_executor(None, _warm, pool)

    async def _ready(self) -> ProcessPoolExecutor:
        """Return the pool once its process can draw."""
        if self._pool is None:
            self._open()
        assert self._pool is not None
        assert self._warming is not None
        await asyncio.shield(self._warming)
        return self._pool

    async def _replace(self) -> None:
        await self._close()
        self._open()

    async def _close(self) -> None:
        """End the process, whatever it does, and wait until it has ended."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list((pool._processes or {}).values()):  # kill_workers() in Python 3.14
            process.kill()
        await asyncio.to_thread(pool.shutdown, cancel_futures=True)
        if self._warming is not None:
            await asyncio.shield(self._warming)


def _unusable(problem: str) -> UnusableImage:
    return UnusableImage(f"The attached picture {problem}.", "Save it anew as PNG or JPEG.")


def _warm(pool: ProcessPoolExecutor) -> None:
    """Wait until the process of a pool has what it needs; if it dies, the next preview tells."""
    # RuntimeError: it was closed before it began
    with contextlib.suppress(BrokenProcessPool, CancelledError, RuntimeError):
        pool.submit(_begun).result()


def _begin(memory: int) -> None:
    """Prepare the new process: deaf to Ctrl-C, bound to the life of the bot, short of memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from PIL import AvifImagePlugin

    from bot.inference import masks  # noqa: F401 - so that it is loaded before the first preview

    # each thread reserves address space, and there would be one for each core
    AvifImagePlugin.DEFAULT_MAX_THREADS = 2
    _limit_memory(memory)


def _begun() -> None:
    """Show that the process has begun."""


def _end_with_parent() -> None:
    """Wait for the bot to end in whatever way: pools leave their processes behind when killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _limit_memory(memory: int) -> None:
    """Let allocations of more than this fail, where the system can count them."""
    if sys.platform != "linux":
        return  # macOS does not keep to the limit, Windows has none
    import resource

    limit = psutil.Process().memory_info().vms + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _draw(image: bytes, mask: bytes | None, region: Region) -> bytes:
    """Draw a preview in the process of the pool."""
    from bot.inference import masks

    try:
        return masks.preview(image, mask, region)
    except MemoryError:
        raise UnusableImage(
            "The attached pictures take more memory than there is.", "Make them smaller."
        ) from None
