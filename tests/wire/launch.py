"""Starts the bot as `python -m bot` does, but on the Discord that FAKE_DISCORD names."""

from __future__ import annotations

import os
import sys

import discord
import yarl
from discord.gateway import DiscordWebSocket

import bot.__main__

if __name__ == "__main__":
    url = yarl.URL(os.environ["FAKE_DISCORD"])
    discord.http.Route.BASE = str(url / "api/v10")
    DiscordWebSocket.DEFAULT_GATEWAY = url.with_scheme("ws") / "gateway"
    sys.exit(bot.__main__.main(sys.argv[1:]))
