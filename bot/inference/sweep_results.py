"""What came of a sweep: the results of its requests, one by one, as the result of one."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from PIL import Image

from bot.inference.sweeps import label
from bot.inference.types import STAGES, Cell, Request, Result, Sweep


def merged(request: Request, results: Sequence[Result]) -> Result:
    """Return the results of the variations of a request, in their order, as one.

    What was measured is the sum of the times, and the memory of the cell with the highest peak.
    Where quantizations are compared that takes up to a second for each picture.
    """
    assert request.sweep is not None
    first = results[0]
    done = {stage for each in results for stage in each.seconds}
    seconds: dict[str, float] = {
        stage: sum(each.seconds.get(stage, 0.0) for each in results)
        for stage in STAGES
        if stage in done
    }
    reused = {stage for each in results for stage in each.reused}
    return replace(
        first,
        images=tuple(each.images[0] for each in results),
        seeds=tuple(each.seeds[0] for each in results),
        seconds=seconds,
        memory=max((each.memory for each in results), key=lambda memory: memory.peak),
        fallback_reason=next((r.fallback_reason for r in results if r.fallback_reason), None),
        reused=tuple(stage for stage in STAGES if stage in reused and stage not in seconds),
        notes=tuple(dict.fromkeys(chain.from_iterable(each.notes for each in results))),
        made_with=_together([each.made_with for each in results]),
        unsafe=tuple(chain.from_iterable(each.unsafe for each in results)),
        cells=tuple(
            Cell(
                label=label(value),
                seed=each.seeds[0],
                seconds=each.seconds,
                peak=each.memory.peak,
                weights=each.memory.weights.actual,
                quantization=each.quantization,
                fallback_reason=each.fallback_reason,
                ssim=likeness,
            )
            for value, each, likeness in zip(
                request.sweep.values, results, _likenesses(request.sweep, results), strict=True
            )
        ),
    )


def _likenesses(sweep: Sweep, results: Sequence[Result]) -> list[float | None]:
    """Return the likeness of each picture to the first, where they are compared."""
    if sweep.option != "quantization":
        return [None] * len(results)
    first = results[0].images[0]
    return [None, *(_likeness(first, each.images[0]) for each in results[1:])]


def _likeness(first: bytes, other: bytes) -> float | None:
    # imported here: the bot starts without numpy
    from bot.inference.similarity import WINDOW, ssim, to_pixels

    pictures = []
    for content in (first, other):
        try:
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                pictures.append(to_pixels(image))
        except Exception:
            return None  # whatever Pillow meets in a file that is broken: the pictures go on
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1 or min(pictures[0].shape[1:]) < WINDOW:
        return None
    return float(ssim(*pictures))


def _together(each_made_with: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return with what the pictures were made; where they differ in that, all of it."""
    names = dict.fromkeys(chain.from_iterable(each_made_with))
    return {
        name: ", ".join(dict.fromkeys(each[name] for each in each_made_with if name in each))
        for name in names
    }
