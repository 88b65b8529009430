"""A job that was made again: whether its pixels are the same, and if not, what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10
from typing import Literal

from PIL import Image, ImageChops

from bot.errors import JobError, StorageError, UnusableImage
from bot.i18n import N_, _, listed, number
from bot.inference.images import flatten, open_image
from bot.inference.types import Result
from bot.records import Job
from bot.storage import Storage

NAMES = {
    "model": N_("the model"),
    "weights": N_("the weights"),
    "transformer": N_("the transformer"),
    "revision": N_("the model's revision"),
    "kernel": N_("the kernel"),
    "dtype": N_("the precision"),
    "device": N_("the device"),
    "bot": N_("the bot's version"),
}
"""What people read of what decides over the pixels; libraries go by their own names."""

Cause = Literal["changed", "same", "unknown"]

OTHER_SIZE: Mapping[Cause, str] = {
    "changed": N_("This repeats job {job}, but in another size; what has changed is {changes}."),
    "same": N_("This repeats job {job}, but in another size, though it was made with the same."),
    "unknown": N_(
        "This repeats job {job}, but in another size; what it was made with was not noted then."
    ),
}
OTHER_PIXELS: Mapping[Cause, str] = {
    "changed": N_(
        "This repeats job {job}, and its pixels differ by {mean} of 255 on average, {largest} at"
        " most (PSNR {psnr} dB); what has changed is {changes}."
    ),
    "same": N_(
        "This repeats job {job}, and its pixels differ by {mean} of 255 on average, {largest} at"
        " most (PSNR {psnr} dB), though it was made with the same."
    ),
    "unknown": N_(
        "This repeats job {job}, and its pixels differ by {mean} of 255 on average, {largest} at"
        " most (PSNR {psnr} dB); what it was made with was not noted then."
    ),
}

LEVELS = 256
"""Of a channel of a picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How two pictures differ, in the 256 levels of a channel; `psnr` is in decibels."""

    largest: int
    mean: float
    psnr: float


async def agreement(storage: Storage, job: Job, result: Result) -> str:
    """Return one sentence on how the pictures of a job compare with those that it repeats."""
    assert job.repeats is not None
    try:
        earlier = await storage.job(job.repeats)
    except JobError:
        return _("This repeats job {job}, which is not kept any more.", job=job.repeats)
    if earlier.outcome is None:
        return _("This repeats job {job}, which made no pictures.", job=earlier.id)
    if not await storage.history.has_pictures(earlier.id):
        return _("This repeats job {job}, whose pictures are not kept any more.", job=earlier.id)
    try:
        before = (await storage.result(earlier)).images
        differences = await asyncio.to_thread(_compare_all, before, result.images)
    except (JobError, StorageError, UnusableImage):
        return _("This repeats job {job}, whose pictures cannot be read any more.", job=earlier.id)
    cause, changes = _why(earlier.outcome, result)
    if differences is None:
        return _(OTHER_SIZE[cause], job=earlier.id, changes=listed(changes))
    worst = max(differences, key=lambda each: each.mean)
    if not any(each.largest for each in differences):
        return _("The pixels are the same as in job {job}.", job=earlier.id)
    return _(
        OTHER_PIXELS[cause],
        job=earlier.id,
        mean=number(float(f"{worst.mean:.2g}")),
        largest=max(each.largest for each in differences),
        psnr=number(worst.psnr, 1),
        changes=listed(changes),
    )


def _compare_all(before: Sequence[bytes], after: Sequence[bytes]) -> list[Difference] | None:
    """Return how each picture differs from the one before it, None where sizes or counts do."""
    if len(before) != len(after):
        return None
    differences = []
    for old, new in zip(before, after, strict=True):
        difference = _compare(flatten(open_image(old)), flatten(open_image(new)))
        if difference is None:
            return None
        differences.append(difference)
    return differences


def _compare(old: Image.Image, new: Image.Image) -> Difference | None:
    if old.size != new.size:
        return None
    histogram = ImageChops.difference(old, new).histogram()
    # of each channel in turn; how often each level is there in all of them
    counts = [sum(histogram[level::LEVELS]) for level in range(LEVELS)]
    squared = _mean([level**2 for level in range(LEVELS)], counts)
    return Difference(
        largest=max(level for level in range(LEVELS) if counts[level]),
        mean=_mean(range(LEVELS), counts),
        psnr=10 * log10((LEVELS - 1) ** 2 / squared) if squared else inf,
    )


def _mean(values: Iterable[int], counts: Sequence[int]) -> float:
    """Return the mean of values that are there so many times each."""
    return sum(value * count for value, count in zip(values, counts, strict=True)) / sum(counts)


def _why(outcome: Mapping[str, object], result: Result) -> tuple[Cause, list[str]]:
    """Return whether anything was otherwise when the earlier pictures were made, and what."""
    before = outcome.get("made_with")
    if not isinstance(before, Mapping) or not before:
        return "unknown", []
    changed = []
    if outcome["quantization"] != result.quantization:
        changed.append(
            _(
                "the quantization ({old}, now {new})",
                old=outcome["quantization"],
                new=result.quantization,
            )
        )
    for name in dict.fromkeys((*before, *result.made_with)):
        old, new = before.get(name, _("unknown")), result.made_with.get(name, _("unknown"))
        if old != new:
            what = _(NAMES.get(name, name))
            changed.append(_("{what} ({old}, now {new})", what=what, old=old, new=new))
    return ("changed", changed) if changed else ("same", [])
