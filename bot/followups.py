"""What can be made of a picture: each a request of its own, which has yet to get its images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from bot.inference.requests import (
    STRENGTH,
    UNREAD,
    check_prompt,
    choose_tool,
    fill,
    kontext,
    redux,
)
from bot.inference.sweeps import single, swept
from bot.inference.tools import Family, Span
from bot.inference.types import SEED_LIMIT, Region, Request

Variation = Literal["subtle", "strong"]
Growth = Literal["zoom15", "zoom2", "left", "right", "up", "down"]

STRONG = 0.5
"""The weight of the picture where it is varied strongly: the prompt has the rest."""

GROWTHS: Mapping[Growth, Region] = MappingProxyType(
    {
        "zoom15": Region(left=25, right=25, top=25, bottom=25),
        "zoom2": Region(left=50, right=50, top=50, bottom=50),
        "left": Region(left=50),
        "right": Region(right=50),
        "up": Region(top=50),
        "down": Region(bottom=50),
    }
)
"""What is added to a picture: zooming out by 1.5 and 2, and half of it to one side."""

BEYOND = "the picture goes on in the same way beyond its edges"
"""What Fill reads where the picture itself came of no description: English, as the models are."""

DESCRIBING = {"generate", "fill", "depth", "canny"}
"""Commands whose prompt says what the picture shows; Kontext's says what shall change."""


def again(request: Request, seed: int) -> Request:
    """Return the same order for another seed, or for as many others as it names."""
    request = replace(request, seed=seed)
    if request.sweep is None or request.sweep.option != "seed":
        return request
    others = tuple((seed + i) % SEED_LIMIT for i in range(len(request.sweep.values)))
    return swept(request, replace(request.sweep, values=others))


def alone(request: Request, number: int) -> Request:
    """Return the order for one picture of several, counted from 1; 0 are all of them."""
    return request if number == 0 else single(request, number)


def vary(
    family: Family, variation: Variation, *, prompt: str, seed: int, quantization: str
) -> Request:
    """Return the order for a picture like another one, which was to show what the prompt says.

    A subtle variation keeps to the picture; a strong one leaves more to the prompt.
    """
    return redux(
        family,
        images={"image": UNREAD},
        seed=seed,
        prompt=prompt.strip() or None,
        strength=STRONG if variation == "strong" else STRENGTH.high,
        quantization=quantization,
    )


def edit(family: Family, prompt: str, *, seed: int, quantization: str) -> Request:
    """Return the order to change a picture as the prompt says."""
    return kontext(family, image=UNREAD, prompt=prompt, seed=seed, quantization=quantization)


def grow(
    family: Family, request: Request, growth: Growth, *, seed: int, quantization: str
) -> Request:
    """Return the order for more of the picture that came of `request`, which itself stays."""
    return fill(
        family,
        image=UNREAD,
        prompt=description(family, request) or BEYOND,
        region=GROWTHS[growth],
        seed=seed,
        quantization=quantization,
    )


def repaint(family: Family, prompt: str, area: str, *, seed: int, quantization: str) -> Request:
    """Return the order to paint a part of a picture anew."""
    return fill(
        family,
        image=UNREAD,
        prompt=prompt,
        region=Region(area=area),
        seed=seed,
        quantization=quantization,
    )


def remix(
    family: Family,
    request: Request,
    *,
    prompt: str,
    steps: int | None,
    guidance: float | None,
    seed: int,
) -> Request:
    """Return an order with some of its options changed; raise RequestError at the first fault.

    Steps and guidance stay as they were where they are None, as those that a sweep varies.
    """
    tool = choose_tool(family, request.tool)
    may_be_empty = not request.prompt and not prompt.strip()
    changed = again(request, Span(0, SEED_LIMIT - 1, 0).choose("seed", seed))
    changed = replace(changed, prompt="" if may_be_empty else check_prompt(prompt))
    if steps is not None:
        changed = replace(changed, num_inference_steps=tool.steps.choose("steps", steps))
    if guidance is not None and tool.guidance is not None:
        changed = replace(changed, guidance_scale=tool.guidance.choose("guidance", guidance))
    return changed


def varied(request: Request) -> Collection[str]:
    """Return the options that the sweep of a request sets itself; each model has its own."""
    if request.sweep is None:
        return ()
    return ("steps", "guidance") if request.sweep.option == "model" else (request.sweep.option,)


def description(family: Family, request: Request) -> str:
    """Return what the picture that came of a request was to show, empty where nobody said."""
    tool = family.catalogue.get(request.tool)
    return request.prompt if tool is not None and tool.command in DESCRIBING else ""
