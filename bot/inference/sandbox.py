"""A process of its own for what libraries in C do with the files of members.

Not in the worker, which may be busy for a minute, and not in the process that talks to Discord: a
file that is made to crash those libraries takes along no more than this process, which is then
started again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from asyncio import Future, Task, TimerHandle
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from functools import partial
from typing import TypeVar, TypeVarTuple

import psutil

from bot.errors import UnusableImage
from bot.i18n import _, language, speaking

_log = logging.getLogger(__name__)

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Sandbox:
    """Runs one function at a time in another process, which begins with `prepare`.

    The process is started when it is first needed, or by `open` ahead of need, and anew when
    something breaks it. With `idle` it ends after so many seconds without work, and is there only
    as long as it is needed.
    """

    def __init__(
        self, name: str, prepare: Callable[[], None], *, idle: float | None = None
    ) -> None:
        self._name = name
        self._prepare = prepare
        self._idle = idle
        self._turn = asyncio.Lock()
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._warming: Future[None] | None = None
        self._timer: TimerHandle | None = None
        self._ending: Task[None] | None = None
        self._closed = False

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The ids of the processes that run now."""
        return tuple(self._pool._processes or ()) if self._pool else ()

    async def run(
        self, function: Callable[[*Arguments], T], *arguments: *Arguments, seconds: float
    ) -> T:
        """Return what a function returns there, in the language that is spoken here.

        Raises what it raises, TimeoutError where it takes longer than `seconds`, which do not count
        the start of the process, and BrokenExecutor where that ends over it.
        """
        async with self._turn:
            self._stop_timer()
            try:
                return await self._run(partial(function, *arguments), seconds)
            finally:
                self._start_timer()

    def open(self) -> None:
        """Start a process without waiting for it, and not in the loop: that takes a while."""
        if self._closed:
            raise BrokenExecutor(f"{self._name}: no process is started any more")
        pool = self._pool = concurrent.futures.ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._prepare,),
        )
        self._warming = asyncio.get_running_loop().run_in_executor(None, _warm, pool)

    async def close(self) -> None:
        """End the process, whatever it does, and start no other; wait until it has ended."""
        self._closed = True
        self._stop_timer()
        await self._end_process()

    async def _end_process(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await _end(pool, self._warming)
        if self._ending is not None:
            await self._ending

    async def _run(self, call: Callable[[], T], seconds: float) -> T:
        work = await self._submit(call)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), seconds)
        except TimeoutError:
            _log.warning("%s: gave up after %g s", self._name, seconds)
            await self._replace()
            raise
        except BrokenExecutor:
            _log.warning("%s: the process ended in the midst of its work", self._name)
            await self._replace()
            raise
        except asyncio.CancelledError:
            if not _being_cancelled():
                raise BrokenExecutor(f"{self._name}: it was closed meanwhile") from None
            # nobody waits for it, but the next one would
            await self._replace()
            raise

    async def _submit(self, call: Callable[[], T]) -> concurrent.futures.Future[T]:
        pool = await self._ready()
        try:
            return pool.submit(_speaking, language(), call)
        except RuntimeError:
            # it died while nobody used it, by the hand of the system, which is no file's fault and
            # a BrokenExecutor; or it was ended, by one that was closed
            await self._replace()
            pool = await self._ready()
            return pool.submit(_speaking, language(), call)

    async def _ready(self) -> concurrent.futures.ProcessPoolExecutor:
        """Return the pool once its process is prepared."""
        if self._pool is None:
            self.open()
        assert self._pool is not None
        assert self._warming is not None
        await asyncio.shield(self._warming)
        return self._pool

    async def _replace(self) -> None:
        await self._end_process()
        if self._idle is None and not self._closed:
            self.open()

    def _start_timer(self) -> None:
        if self._idle is not None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(self._idle, self._end_idle)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_idle(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            self._ending = asyncio.get_running_loop().create_task(_end(pool, self._warming))


@contextmanager
def reading_pictures() -> Iterator[None]:
    """Turn what a picture did to a sandbox into UnusableImage."""
    try:
        yield
    except TimeoutError as error:
        raise UnusableImage(
            _("The attached picture takes too long to read."), _("Save it anew as PNG or JPEG.")
        ) from error
    except BrokenExecutor as error:
        raise UnusableImage(
            _("The attached picture could not be read."), _("Save it anew as PNG or JPEG.")
        ) from error


def limit_memory(memory: int) -> None:
    """Let allocations of more than this fail from here on, where the system can count them."""
    if sys.platform != "linux":
        return  # macOS does not keep to the limit, Windows has none
    import resource

    limit = psutil.Process().memory_info().vms + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def limit_decoders() -> None:
    """Let pictures be decoded in few threads."""
    from PIL import AvifImagePlugin

    # each thread reserves address space, and there would be one for each core
    AvifImagePlugin.DEFAULT_MAX_THREADS = 2


def _being_cancelled() -> bool:
    """Tell whether it is the running task that is cancelled, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _end(pool: concurrent.futures.ProcessPoolExecutor, warming: Future[None] | None) -> None:
    for process in list((pool._processes or {}).values()):  # kill_workers() in Python 3.14
        process.kill()
    await asyncio.to_thread(pool.shutdown, cancel_futures=True)
    if warming is not None:
        await asyncio.shield(warming)


def _warm(pool: concurrent.futures.ProcessPoolExecutor) -> None:
    """Wait until the process of a pool is prepared; if it dies, the next one to use it is told."""
    # RuntimeError: it was closed before it began
    with contextlib.suppress(BrokenExecutor, CancelledError, RuntimeError):
        pool.submit(_begun).result()


def _begin(prepare: Callable[[], None]) -> None:
    """Prepare the new process: deaf to Ctrl-C, and bound to the life of the bot."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    prepare()


def _begun() -> None:
    """Show that the process has begun."""


def _end_with_parent() -> None:
    """Wait for the bot to end in whatever way: pools leave their processes behind when killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)


def _speaking(language: str, call: Callable[[], T]) -> T:
    with speaking(language):
        return call()
