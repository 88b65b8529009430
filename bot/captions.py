"""Words about a request: above its pictures, and for those who cannot see them."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

import discord

from bot.i18n import N_, _, counted
from bot.inference.sweeps import labels, variations
from bot.inference.tools import TOOLS
from bot.inference.types import Adjustment, Region, Request, Sweep

PROMPT_SHOWN = 1000
"""Characters of the prompt that a message repeats; Discord allows 4096 in a description, and
escaping can double what is shown."""

ALT_TEXT_LIMIT = 1024

ADJUSTED: dict[Adjustment, str] = {
    "grow": N_("grown"),
    "shrink": N_("shrunk"),
    "feather": N_("feathered"),
    "invert": N_("inverted"),
}

ALT_TEXTS = {
    "fill": N_("An image, repainted in part: {prompt}"),
    "kontext": N_("An image, changed: {prompt}"),
}

CONTROLS = {
    "canny": N_("The edges that the picture follows, white on black"),
    "depth": N_("The depth that the picture follows: the brighter, the nearer"),
}
"""What is said of the second file of a tool's result."""


def caption(request: Request, inputs: Collection[str]) -> str:
    """Return the prompt as a quote; without one, what was made of the images that were attached.

    Of a sweep it also says what is varied.
    """
    if request.prompt:
        text = quoted(request.prompt)
    else:
        text = counted("Variation of an image.", "Variation of {n} images.", max(1, len(inputs)))
    return text if request.sweep is None else f"{text}\n{varied(request.sweep)}"


def title(request: Request) -> str:
    """Return the names of the models that a request is for."""
    return ", ".join(dict.fromkeys(TOOLS[each.tool].title for each in variations(request)))


def varied(sweep: Sweep) -> str:
    """Return what a sweep varies, as people type it."""
    return _("Sweep: {option} {values}", option=sweep.option, values=", ".join(labels(sweep)))


def quoted(prompt: str) -> str:
    """Return a prompt as text that neither pings nor formats, cut to what a message can hold."""
    shown = prompt if len(prompt) <= PROMPT_SHOWN else prompt[: PROMPT_SHOWN - 1].rstrip() + "…"
    shown = discord.utils.escape_mentions(discord.utils.escape_markdown(" ".join(shown.split())))
    return f"> {shown}"


def alt_text(request: Request, inputs: Collection[str]) -> str:
    """Return what is read out of a picture to those who cannot see it."""
    if request.strength is not None:
        text = _variation(request.prompt, max(1, len(inputs)))
    else:
        known = ALT_TEXTS.get(request.tool)
        text = _(known, prompt=request.prompt) if known else request.prompt
    return text[:ALT_TEXT_LIMIT]


def adjusted(region: Region) -> str:
    """Return what was done to a mask, in its order: `grown ×2, feathered`; empty for nothing."""
    runs = ((each, len(list(run))) for each, run in groupby(region.adjustments))
    return ", ".join(_(ADJUSTED[each]) + (f" ×{n}" if n > 1 else "") for each, n in runs)


def _variation(prompt: str, images: int) -> str:
    if not prompt:
        return counted("Variation of an image", "Variation of {n} images", images)
    return counted(
        "Variation of an image: {prompt}",
        "Variation of {n} images: {prompt}",
        images,
        prompt=prompt,
    )
