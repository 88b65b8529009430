"""Starts the bot as `python -m bot` does, but on the Discord that FAKE_DISCORD names.

FAKE_CLOCK names a file with the seconds by which the time of day is wrong. HASTE shortens what
would keep a test waiting: constants by their full names, and of discord.py `heartbeat_timeout` and
`identify_pause`, the time between two sessions. With AS_ANYBODY root may write no more than others.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import sys
import time
from functools import partialmethod
from pathlib import Path

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.state import ConnectionState

import bot.__main__


def shift_clock(file: Path) -> None:
    """Let the time of day be wrong, as before or after NTP sets it; monotonic time goes on."""
    right = time.time
    time.time = lambda: right() + float(file.read_text())


def make_haste(shortened: str) -> None:
    """Take other seconds for constants, as in `bot.retention.FIRST=1`."""
    for each in shortened.split():
        name, _, seconds = each.partition("=")
        if name == "heartbeat_timeout":
            begin = partialmethod(ConnectionState.__init__, heartbeat_timeout=float(seconds))
            ConnectionState.__init__ = begin  # type: ignore[method-assign, assignment]
        elif name == "identify_pause":
            discord.Client.before_identify_hook = partialmethod(_pause, float(seconds))
        else:
            module, _, constant = name.rpartition(".")
            assert hasattr(importlib.import_module(module), constant)
            setattr(importlib.import_module(module), constant, float(seconds))


async def _pause(_: discord.Client, seconds: float, shard_id: int | None, *, initial: bool) -> None:
    await asyncio.sleep(0 if initial else seconds)


def be_anybody() -> None:
    """Give up root's right to write where the modes of files and folders are against it."""
    overrides = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, sets) == 0
    sets[0] &= ~overrides  # of those that are in effect
    assert libc.capset(header, sets) == 0


if __name__ == "__main__":
    url = yarl.URL(os.environ["FAKE_DISCORD"])
    discord.http.Route.BASE = str(url / "api/v10")
    DiscordWebSocket.DEFAULT_GATEWAY = url.with_scheme("ws") / "gateway"
    if os.environ.get("AS_ANYBODY"):
        be_anybody()
    if clock := os.environ.get("FAKE_CLOCK"):
        shift_clock(Path(clock))  # first: modules may take the function itself for a default
    make_haste(os.environ.get("HASTE", ""))
    sys.exit(bot.__main__.main(sys.argv[1:]))
