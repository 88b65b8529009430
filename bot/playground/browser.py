"""The playground in the browser: a channel where the bot answers, on this machine alone."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser

from bot.config import Settings
from bot.playground.live import live_preview
from bot.playground.simulation import simulation
from bot.signals import stop_signals


async def serve(settings: Settings, *, port: int, open_browser: bool) -> None:
    """Print the address of the page, and serve it until Ctrl-C or until the page ends it."""
    with stop_signals() as stop:
        async with simulation(settings) as room, live_preview(room, port) as page:
            print(f"The playground is at {page.url}\nIt ends with Ctrl-C.", flush=True)
            if open_browser and _has_screen():
                await asyncio.to_thread(webbrowser.open, page.url)
            await room.until(stop, page.follow())


def _has_screen() -> bool:
    """Return whether a browser would open a window; in a bare terminal it would take that over."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
