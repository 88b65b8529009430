"""A job that was made again: whether its pixels are the same, and if not, what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log10

import numpy as np
from PIL import Image

from bot.errors import JobError, StorageError, UnusableImage
from bot.inference.images import flatten, open_image
from bot.inference.types import Result
from bot.records import Job
from bot.storage import Storage

NAMES = {
    "model": "the model",
    "weights": "the weights",
    "transformer": "the transformer",
    "revision": "the model's revision",
    "kernel": "the kernel",
    "dtype": "the precision",
    "device": "the device",
    "bot": "the bot's version",
}
"""What people read of what decides over the pixels; libraries go by their own names."""

BAND = 64
"""Rows that are compared at a time: all of a large picture would take gigabytes."""


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
        return f"This repeats job {job.repeats}, which is not kept any more."
    name = f"job {earlier.id}"
    if earlier.outcome is None:
        return f"This repeats {name}, which made no pictures."
    if not await storage.archive.has_pictures(earlier.id):
        return f"This repeats {name}, whose pictures are not kept any more."
    try:
        before = (await storage.result(earlier)).images
        differences = await asyncio.to_thread(_compare_all, before, result.images)
    except (JobError, StorageError, UnusableImage):
        return f"This repeats {name}, whose pictures cannot be read any more."
    if differences is None:
        return f"This repeats {name}, but in another size{_why(earlier.outcome, result)}."
    worst = max(differences, key=lambda each: each.mean)
    if not any(each.largest for each in differences):
        return f"The pixels are the same as in {name}."
    return (
        f"This repeats {name}, and its pixels differ by {worst.mean:.2g} of 255 on average,"
        f" {max(each.largest for each in differences)} at most"
        f" (PSNR {worst.psnr:.1f} dB){_why(earlier.outcome, result)}."
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
    counts = sum(_distances(old, new, top) for top in range(0, old.height, BAND))
    levels = np.arange(256)
    squared = float(np.average(levels**2, weights=counts))
    return Difference(
        largest=int(np.flatnonzero(counts).max()),
        mean=float(np.average(levels, weights=counts)),
        psnr=10 * log10(255**2 / squared) if squared else float("inf"),
    )


def _distances(old: Image.Image, new: Image.Image, top: int) -> np.ndarray:
    """Return how often each difference from 0 to 255 is there in a band of two pictures."""
    box = (0, top, old.width, min(top + BAND, old.height))
    pixels = [np.asarray(each.crop(box)) for each in (old, new)]
    return np.bincount((np.maximum(*pixels) - np.minimum(*pixels)).ravel(), minlength=256)


def _why(outcome: Mapping[str, object], result: Result) -> str:
    """Return what was otherwise when the earlier pictures were made, as the end of a sentence."""
    before = outcome.get("made_with")
    if not isinstance(before, Mapping) or not before:
        return "; what it was made with was not noted then"
    changed = []
    if outcome["quantization"] != result.quantization:
        changed.append(f"the quantization ({outcome['quantization']}, now {result.quantization})")
    for name in dict.fromkeys((*before, *result.made_with)):
        old, new = before.get(name, "unknown"), result.made_with.get(name, "unknown")
        if old != new:
            changed.append(f"{NAMES.get(name, name)} ({old}, now {new})")
    if not changed:
        return ", though it was made with the same"
    return f"; what has changed is {_listed(changed)}"


def _listed(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
