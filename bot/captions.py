"""Words about a request: above its pictures, beside them, of its own options and its memory."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

import discord

from bot.inference.types import Adjustment, MemoryStats, Region, Request
from bot.records import MemoryLine
from bot.units import format_bytes

PROMPT_SHOWN = 1000
"""Characters of the prompt that a message repeats; Discord allows 4096 in a description, and
escaping can double what is shown."""

ALT_TEXT_LIMIT = 1024

ADJUSTED: dict[Adjustment, str] = {
    "grow": "grown",
    "shrink": "shrunk",
    "feather": "feathered",
    "invert": "inverted",
}

ALT_TEXTS = {
    "fill": "An image, repainted in part: {}",
    "kontext": "An image, changed: {}",
}

CONTROLS = {
    "canny": "The edges that the picture follows, white on black",
    "depth": "The depth that the picture follows: the brighter, the nearer",
}
"""What is said of the second file of a tool's result."""


def caption(request: Request, inputs: Collection[str]) -> str:
    """Return the prompt as a quote; without one, what was made of the images that were attached."""
    return quoted(request.prompt) if request.prompt else f"{_variation(inputs)}."


def quoted(prompt: str) -> str:
    """Return a prompt as text that neither pings nor formats, cut to what a message can hold."""
    shown = prompt if len(prompt) <= PROMPT_SHOWN else prompt[: PROMPT_SHOWN - 1].rstrip() + "…"
    shown = discord.utils.escape_mentions(discord.utils.escape_markdown(" ".join(shown.split())))
    return f"> {shown}"


def alt_text(request: Request, inputs: Collection[str]) -> str:
    """Return what is read out of a picture to those who cannot see it."""
    text = ALT_TEXTS.get(request.tool, "{}").format(request.prompt)
    if request.strength is not None:
        text = f"{_variation(inputs)}: {request.prompt}" if request.prompt else _variation(inputs)
    return text[:ALT_TEXT_LIMIT]


def own_options(request: Request, inputs: Collection[str]) -> dict[str, str]:
    """Return the options that only this tool has, by the names that people read."""
    if request.region is not None:
        return {"Repainted": _repainted(request.region, inputs)}
    if request.low is not None:
        return {"Edges": f"low {request.low}, high {request.high}"}
    if request.strength is not None:
        return {"Images": str(len(inputs)), "Strength": f"{request.strength:g}"}
    return {}


def adjusted(region: Region) -> str:
    """Return what was done to a mask, in its order: `grown ×2, feathered`; empty for nothing."""
    runs = ((each, len(list(run))) for each, run in groupby(region.adjustments))
    return ", ".join(ADJUSTED[each] + (f" ×{n}" if n > 1 else "") for each, n in runs)


def memory_line(memory: MemoryStats, kind: MemoryLine) -> str:
    """Return the peak, what stays resident and what 8 bits saved, as measured on this machine.

    In short the peak and what was saved against bf16, and nothing where it is off.
    """
    weights, peak = memory.weights, f"peak {format_bytes(memory.peak)}"
    in_bf16 = f"{_saved(weights.saved_against('bfloat16'))} in bf16"
    if kind == "off":
        return ""
    if kind == "short":
        return f"{memory.device}: {peak}, weights {in_bf16}"
    return (
        f"{memory.device}: {peak}, weights resident {format_bytes(memory.resident)}\n"
        f"Weights of this job {format_bytes(weights.actual)}:"
        f" {in_bf16}, {_saved(weights.saved_against('float32'))} in fp32"
    )


def _saved(share: float) -> str:
    return f"{abs(share):.0%} {'less' if share >= 0 else 'more'} than".replace("%", " %")


def _repainted(region: Region, inputs: Collection[str]) -> str:
    sides = {side: getattr(region, side) for side in ("left", "right", "top", "bottom")}
    grown = ", ".join(f"{side} {percent} %" for side, percent in sides.items() if percent)
    parts = []
    if "mask" in inputs:
        parts.append("what the mask marks")
    elif region.area is not None:
        parts.append(" ".join(region.area.split()))
    elif not grown:
        parts.append("what was transparent")
    if grown:
        parts.append(f"what was added: {grown}")
    if region.adjustments:
        parts.append(f"the mask {adjusted(region)}")
    return "; ".join(parts)


def _variation(inputs: Collection[str]) -> str:
    return "Variation of an image" if len(inputs) < 2 else f"Variation of {len(inputs)} images"
