"""From the options of a command to a Request, each option checked: one function for a command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from bot.errors import RequestError, UnsupportedQuantization
from bot.i18n import _, number
from bot.inference.regions import are_words, check_words, encodable, parse_area
from bot.inference.tools import Family, Span, Tool
from bot.inference.types import (
    AROUND_WORDS,
    QUANTIZATIONS,
    SEED_LIMIT,
    Quantization,
    Region,
    Request,
)

UNREAD = b""
"""Stands for an image while the options are checked: it is read when they are in order."""

MAX_PROMPT = 2000
"""Characters. 512 T5 tokens hold about as much; what goes beyond would be cut off silently."""

MAX_COUNT = 4

MAX_IMAGES = 4
"""How many images `/redux` blends."""

PERCENT = Span(0, 100, 0)
THRESHOLD_LOW = Span(1, 255, 100)
THRESHOLD_HIGH = Span(1, 255, 200)
STRENGTH = Span(0.1, 1.0, 1.0)


class Common(TypedDict, total=False):
    """The options that all commands share; None, or left out, is the default of the tool."""

    steps: int | None
    guidance: float | None
    count: int
    quantization: str


def text_to_image(
    family: Family,
    *,
    model: str,
    prompt: str,
    seed: int,
    size: str = "square",
    **common: Unpack[Common],
) -> Request:
    """Return the request of `/generate`; raise RequestError at its first fault."""
    tool = choose_model(family, model)
    width, height = family.pixels(size)
    return _request(
        tool, common, prompt=check_prompt(prompt), seed=seed, width=width, height=height
    )


def fill(
    family: Family,
    *,
    image: bytes,
    prompt: str,
    seed: int,
    mask: bytes | None = None,
    region: Region | None = None,
    **common: Unpack[Common],
) -> Request:
    """Return the request of `/fill`; raise RequestError at its first fault.

    An area that is neither a name nor numbers becomes the words of the region, whose mask begins
    grown and feathered. A region that has words already stays as it is.
    """
    region = _sorted_out(region or Region())
    if region.words is not None and mask is not None:
        raise RequestError(
            _("`mask` wins over the words in `area`, and nobody would look for them."),
            _("Leave one of the two out."),
        )
    for side in ("left", "right", "top", "bottom"):
        PERCENT.choose(side, getattr(region, side))
    return _request(
        choose_tool(family, "fill"),
        common,
        prompt=check_prompt(prompt),
        seed=seed,
        images={"image": image} | ({} if mask is None else {"mask": mask}),
        region=region,
    )


def kontext(
    family: Family,
    *,
    image: bytes,
    prompt: str,
    seed: int,
    size: str | None = None,
    **common: Unpack[Common],
) -> Request:
    """Return the request of `/kontext`; raise RequestError at its first fault."""
    width, height = (None, None) if size is None else family.pixels(size)
    return _request(
        choose_tool(family, "kontext"),
        common,
        prompt=check_prompt(prompt),
        seed=seed,
        images={"image": image},
        width=width,
        height=height,
    )


def depth(
    family: Family, *, image: bytes, prompt: str, seed: int, **common: Unpack[Common]
) -> Request:
    """Return the request of `/depth`; raise RequestError at its first fault."""
    return _request(
        choose_tool(family, "depth"),
        common,
        prompt=check_prompt(prompt),
        seed=seed,
        images={"image": image},
    )


def canny(
    family: Family,
    *,
    image: bytes,
    prompt: str,
    seed: int,
    low: int | None = None,
    high: int | None = None,
    **common: Unpack[Common],
) -> Request:
    """Return the request of `/canny`; raise RequestError at its first fault."""
    low = THRESHOLD_LOW.choose("low", low)
    high = THRESHOLD_HIGH.choose("high", high)
    if low >= high:
        raise RequestError(
            _(
                "`low` is {low} and `high` is {high}, but `low` has to be the smaller one.",
                low=number(low),
                high=number(high),
            ),
            _("Edges above `high` count, and those above `low` that hang together with them."),
        )
    return _request(
        choose_tool(family, "canny"),
        common,
        prompt=check_prompt(prompt),
        seed=seed,
        images={"image": image},
        low=low,
        high=high,
    )


def redux(
    family: Family,
    *,
    images: Mapping[str, bytes],
    seed: int,
    prompt: str | None = None,
    strength: float | None = None,
    **common: Unpack[Common],
) -> Request:
    """Return the request of `/redux`, for 1 to 4 images; raise RequestError at its first fault."""
    assert 1 <= len(images) <= MAX_IMAGES
    return _request(
        choose_tool(family, "redux"),
        common,
        prompt="" if prompt is None else check_prompt(prompt),
        seed=seed,
        images=images,
        strength=STRENGTH.choose("strength", strength),
    )


def choose_model(family: Family, name: str) -> Tool:
    """Return a model of `/generate`; raise RequestError where the family has none of that name."""
    tools = family.tools("generate")
    if name not in tools:
        raise RequestError(
            _("There is no model `{model}` here.", model=name),
            _("Choose one of {models}.", models=", ".join(tools)),
        )
    return tools[name]


def choose_tool(family: Family, name: str) -> Tool:
    """Return a tool of the family; raise RequestError where it has no weights for it."""
    tools = family.tools()
    if name not in tools:
        raise RequestError(
            _("The `{family}` models have no {tool}.", family=family.name, tool=name),
            _("The operator chooses with FLUX_MODELS."),
        )
    return tools[name]


def check_prompt(prompt: str) -> str:
    """Return the prompt without white space around it; raise RequestError if empty or too long."""
    prompt = encodable(prompt).strip()
    if not prompt:
        raise RequestError(_("The prompt is empty."), _("Say what the picture shall show."))
    if len(prompt) > MAX_PROMPT:
        raise RequestError(
            _(
                "The prompt has {length} characters, but the models read at most {most}.",
                length=number(len(prompt)),
                most=number(MAX_PROMPT),
            ),
            _("Shorten it."),
        )
    return prompt


def check_quantization(value: str) -> Quantization:
    """Return `value` as a Quantization; raise UnsupportedQuantization for anything but the two."""
    if value not in QUANTIZATIONS:
        raise UnsupportedQuantization(value)
    return value


def check_guidance(tool: Tool, value: float | None) -> float | None:
    """Return the guidance, or the default for None; raise RequestError where the tool has none."""
    if tool.guidance is not None:
        return tool.guidance.choose("guidance", value)
    if value is not None:
        raise RequestError(
            _("{tool} is distilled and takes no `guidance`.", tool=tool.title),
            _("Leave it out, or choose `dev`."),
        )
    return None


def _sorted_out(region: Region) -> Region:
    """Return a region whose area is in order, or has become words."""
    if region.area is not None and are_words(region.area):
        adjustments = (*AROUND_WORDS, *region.adjustments)
        region = replace(region, words=region.area, area=None, adjustments=adjustments)
    if region.area is not None:
        parse_area(region.area)
    return replace(region, words=None if region.words is None else check_words(region.words))


def _request(tool: Tool, common: Common, *, seed: int, **own: Any) -> Request:
    return Request(
        tool=tool.name,
        num_inference_steps=tool.steps.choose("steps", common.get("steps")),
        guidance_scale=check_guidance(tool, common.get("guidance")),
        seed=Span(0, SEED_LIMIT - 1, 0).choose("seed", seed),
        count=Span(1, MAX_COUNT, 1).choose("count", common.get("count", 1)),
        quantization=check_quantization(common.get("quantization", "8-bit")),
        **own,
    )
