"""The colours of messages: one for each command, and those of an end without pictures."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import discord

from bot.inference.tools import TOOLS

ACCENT = discord.Colour(0x5B6CFF)
"""That of the bot itself, for what belongs to no tool."""
QUIET = discord.Colour(0x80848E)
FAULT = discord.Colour(0xD83C3E)

ACCENTS: Mapping[str, discord.Colour] = MappingProxyType(
    {
        "generate": ACCENT,
        "fill": discord.Colour(0xCC8800),
        "kontext": discord.Colour(0x22BB99),
        "depth": discord.Colour(0x99CC00),
        "canny": discord.Colour(0xEE99FF),
        "redux": discord.Colour(0xAA00AA),
    }
)
"""By the names of the commands. They were chosen so that, to any eye, each differs from the others
and from the two above, and stands out from the grounds of the dark and the light theme."""


def accent(tool: str) -> discord.Colour:
    """Return the colour of what a tool makes."""
    return ACCENTS[TOOLS[tool].command]
