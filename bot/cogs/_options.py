"""The options that the commands share: their types, ranges, choices and descriptions."""

from __future__ import annotations

from discord.app_commands import Choice, Range, locale_str

from bot.inference.requests import MAX_COUNT, MAX_PROMPT
from bot.inference.sweeps import MAX_TEXT
from bot.inference.tools import SIZES, Family
from bot.inference.types import QUANTIZATIONS, SEED_LIMIT

Prompt = Range[str, 1, MAX_PROMPT]
Steps = Range[int, 1, 50]
Seed = Range[int, 0, SEED_LIMIT - 1]
Count = Range[int, 1, MAX_COUNT]
Sweep = Range[str, 1, MAX_TEXT]

QUANTIZATION_CHOICES = [Choice(name=value, value=value) for value in QUANTIZATIONS]

DESCRIPTIONS = {
    "steps": "How many steps to paint in: more is finer and slower",
    "guidance": "How closely to follow the prompt",
    "seed": "The same seed gives the same picture; left out, it is drawn and shown",
    "count": "How many pictures, from as many seeds",
    "quantization": "8-bit halves the memory; None is full precision",
    "private": "Only you see the answer",
    "spoiler": "Hide the pictures behind a click",
}


def size_choices(family: Family) -> list[Choice[str]]:
    """Return the named sizes with the pixels that they have in a family."""
    return [
        Choice(
            name=locale_str("{} {}×{}".format(name, *family.pixels(name)), word=name), value=name
        )
        for name in SIZES
    ]
