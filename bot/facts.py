"""What is known of a request and of its result, in the order in which it is told everywhere.

The prompt comes before all that, under the name of the model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

import discord

from bot.captions import adjusted
from bot.i18n import N_, _, number, percent
from bot.inference.sweeps import variations
from bot.inference.types import MemoryStats, Region, Request, Result
from bot.records import Job, MemoryLine
from bot.tables import table
from bot.units import format_bytes, format_seconds

INLINE = 24
"""Characters that fit beside two other facts."""

SEED, SEEDS, NOTE = N_("Seed"), N_("Seeds"), N_("Note")

SIDES = {
    "left": N_("left {share}"),
    "right": N_("right {share}"),
    "top": N_("top {share}"),
    "bottom": N_("bottom {share}"),
}

WORK = {
    "wait": N_("wait"),
    "load": N_("load"),
    "annotate": N_("annotate"),
    "encode": N_("encode"),
    "denoise": N_("denoise"),
    "decode": N_("decode"),
}
"""What the seconds of a result were spent on."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is known of a job; its name is English here, and translated where it is shown.

    Those that are `inline` are short, and stand side by side.
    """

    name: str
    value: str
    inline: bool = True


def facts(
    request: Request,
    inputs: Collection[str],
    result: Result | None = None,
    memory: MemoryLine = "full",
) -> tuple[Fact, ...]:
    """Return what is known of a request, and of its result where there is one, in order.

    `inputs` are the names of the images that were attached, `memory` is how much is said of it.
    """
    return tuple(_facts(request, inputs, result, memory))


def asked(job: Job) -> Fact:
    """Return how long ago a job was asked for."""
    return Fact(N_("Asked"), f"<t:{job.created_at:.0f}:R>")


def lines(told: Iterable[Fact]) -> Iterator[str]:
    """Yield facts as lines of a text: short ones side by side, each other one on its own."""
    for inline, some in groupby(told, lambda fact: fact.inline):
        texts = [f"**{_(fact.name)}** {fact.value}" for fact in some]
        yield from [" · ".join(texts)] if inline else texts


def memory_line(memory: MemoryStats, kind: MemoryLine) -> str:
    """Return the peak, what stays resident and what 8 bits saved, as measured on this machine.

    In short the peak and what was saved against bf16, and nothing where it is off.
    """
    weights, device, peak = memory.weights, memory.device, format_bytes(memory.peak)
    in_bf16 = _compared(weights.saved_against("bfloat16"), "bf16")
    if kind == "off":
        return ""
    if kind == "short":
        return _("{device}: peak {peak}, weights {saved}", device=device, peak=peak, saved=in_bf16)
    resident = _(
        "{device}: peak {peak}, weights resident {resident}",
        device=device,
        peak=peak,
        resident=format_bytes(memory.resident),
    )
    used = _(
        "Weights of this job {size}: {saved}, {more}",
        size=format_bytes(weights.actual),
        saved=in_bf16,
        more=_compared(weights.saved_against("float32"), "fp32"),
    )
    return f"{resident}\n{used}"


def _facts(
    request: Request, inputs: Collection[str], result: Result | None, memory: MemoryLine
) -> Iterator[Fact]:
    size = (request.width, request.height) if result is None else result.size
    if None not in size:
        yield Fact(N_("Size"), "{}×{}".format(*size))
    cells = variations(request)
    yield Fact(N_("Steps"), _each(number(cell.num_inference_steps) for cell in cells))
    guidance = [cell.guidance_scale for cell in cells if cell.guidance_scale is not None]
    if guidance:
        yield Fact(N_("Guidance"), _each(map(number, guidance)))
    yield _inline_if_short(N_("Quantization"), _quantization(request, result))
    seeds = dict.fromkeys(request.seeds if result is None else result.seeds)
    yield Fact(SEED if len(seeds) == 1 else SEEDS, ", ".join(map(str, seeds)))
    yield from _own_options(request, inputs)
    if result is None:
        return
    if request.sweep is not None and result.cells:
        yield Fact(N_("Sweep"), table(request.sweep, result.cells, memory), inline=False)
    yield Fact(N_("Time"), _times(result), inline=False)
    # where quantizations are compared, the table has what each of them took
    is_comparison = request.sweep is not None and request.sweep.option == "quantization"
    if not is_comparison and (words := memory_line(result.memory, memory)):
        yield Fact(N_("Memory"), words, inline=False)
    if result.notes:
        yield Fact(NOTE, "\n".join(result.notes), inline=False)


def _own_options(request: Request, inputs: Collection[str]) -> Iterator[Fact]:
    """Yield the options that only this tool has."""
    if request.region is not None:
        yield _inline_if_short(N_("Repainted"), _repainted(request.region, inputs))
    elif request.low is not None:
        words = _("low {low}, high {high}", low=request.low, high=request.high)
        yield _inline_if_short(N_("Edges"), words)
    elif request.strength is not None:
        yield Fact(N_("Images"), str(len(inputs)))
        yield Fact(N_("Strength"), number(request.strength))


def _each(values: Iterable[str]) -> str:
    """Return the values of several pictures, each of them once."""
    return ", ".join(dict.fromkeys(values))


def _inline_if_short(name: str, value: str) -> Fact:
    return Fact(name, value, inline=len(value) <= INLINE)


def _quantization(request: Request, result: Result | None) -> str:
    if result is None or (result.cells and result.fallback_reason is None):
        return _each(cell.quantization for cell in variations(request))
    if result.fallback_reason is None:
        return result.quantization
    reason = discord.utils.escape_markdown(result.fallback_reason)
    used, wanted = result.quantization, request.quantization
    if used == wanted:  # a text encoder alone fell back
        return _("{used}, but {reason}", used=used, reason=reason)
    return _("{used} instead of {wanted}: {reason}", used=used, wanted=wanted, reason=reason)


def _repainted(region: Region, inputs: Collection[str]) -> str:
    shares = {side: getattr(region, side) for side in SIDES}
    grown = ", ".join(
        _(SIDES[side], share=percent(share / 100)) for side, share in shares.items() if share
    )
    parts = []
    if region.words is not None:
        parts.append(discord.utils.escape_mentions(discord.utils.escape_markdown(region.words)))
    elif "mask" in inputs:
        parts.append(_("what the mask marks"))
    elif region.area is not None:
        parts.append(" ".join(region.area.split()))
    elif not grown:
        parts.append(_("what was transparent"))
    if grown:
        parts.append(_("what was added: {sides}", sides=grown))
    if changes := adjusted(region):
        parts.append(_("the mask {changes}", changes=changes))
    return reduce(lambda first, second: _("{first}; {second}", first=first, second=second), parts)


def _times(result: Result) -> str:
    times = {stage: format_seconds(seconds) for stage, seconds in result.seconds.items()}
    # what an earlier job had worked out for the same words and images
    times |= dict.fromkeys(result.reused, _("kept"))
    parts = ", ".join(f"{_(WORK.get(stage, stage))} {time}" for stage, time in times.items())
    total = format_seconds(sum(result.seconds.values()))
    return _("**{total}** in all: {parts}", total=total, parts=parts)


def _compared(saved: float, dtype: str) -> str:
    share = percent(abs(saved))
    if share == percent(0):
        return _("as much as in {dtype}", dtype=dtype)
    if saved >= 0:
        return _("{share} less than in {dtype}", share=share, dtype=dtype)
    return _("{share} more than in {dtype}", share=share, dtype=dtype)
