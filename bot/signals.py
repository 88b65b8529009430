"""Ctrl-C and SIGTERM as an event, so that page, client and worker are closed in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager

HANDLED = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that either signal sets; the same signal again has its usual effect."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def request(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    # Windows has no such handlers: there Ctrl-C cancels the main task
    with contextlib.suppress(NotImplementedError):
        for number in HANDLED:
            loop.add_signal_handler(number, request, number)
    try:
        yield stop
    finally:
        # as above: what could not be added cannot be removed
        with contextlib.suppress(NotImplementedError):
            for number in HANDLED:
                loop.remove_signal_handler(number)
