"""What came of several requests, told as one: nothing is lost, and nothing counted twice."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bot.inference.similarity import ssim, to_pixels
from bot.inference.sweep_results import merged
from bot.inference.sweeps import compare, parse, swept, variations
from bot.inference.tools import FAMILIES
from bot.inference.types import Request, Result, Weights
from tests.doubles import MEMORY, result_for

from .conftest import ask

TINY = FAMILIES["tiny"]


def sweep(text: str) -> Request:
    return swept(ask(), parse(text, TINY, model="schnell", seed=7))


def picture(seed: int, spread: int = 0, size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a picture as PNG: soft shapes, with so much noise on top."""
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    ground = 128 + 90 * np.sin(rows / 7)[..., None] * np.cos(columns[..., None] / (5, 8, 11))
    noise = np.random.default_rng(seed).integers(-spread, spread + 1, ground.shape)
    pixels = np.clip(ground + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def results(request: Request, *changes: dict[str, Any]) -> list[Result]:
    cells = variations(request)
    return [replace(result_for(c), **change) for c, change in zip(cells, changes, strict=True)]


def test_pictures_and_seeds_come_in_the_order_of_the_values() -> None:
    request = sweep("seed 5 3 9")
    whole = merged(request, [result_for(each) for each in variations(request)])
    assert whole.seeds == (5, 3, 9)
    assert whole.images == (b"picture 5", b"picture 3", b"picture 9")
    assert [cell.label for cell in whole.cells] == ["5", "3", "9"]
    assert [cell.seed for cell in whole.cells] == [5, 3, 9]


def test_times_add_up_and_each_picture_keeps_its_own() -> None:
    request = sweep("steps 1 4")
    first = {"load": 2.0, "encode": 0.5, "denoise": 1.0, "decode": 0.25}
    second = {"denoise": 4.0, "decode": 0.25}
    whole = merged(
        request,
        results(request, {"seconds": first}, {"seconds": second, "reused": ("encode",)}),
    )
    assert whole.seconds == {"load": 2.0, "encode": 0.5, "denoise": 5.0, "decode": 0.5}
    assert list(whole.seconds) == ["load", "encode", "denoise", "decode"]
    assert [cell.seconds for cell in whole.cells] == [first, second]
    assert whole.reused == ()  # it was read once, for this


def test_what_no_picture_needed_anew_was_kept() -> None:
    request = sweep("steps 1 4")
    kept = {"seconds": {"denoise": 1.0}, "reused": ("encode",)}
    assert merged(request, results(request, kept, kept)).reused == ("encode",)


def test_memory_is_that_of_the_picture_that_took_most() -> None:
    request = sweep("quantization None 8-bit")
    large = replace(MEMORY, peak=9, weights=Weights(actual=8, bfloat16=8, float32=16))
    whole = merged(request, results(request, {"memory": large}, {"memory": MEMORY}))
    assert whole.memory == large
    assert [(cell.peak, cell.weights) for cell in whole.cells] == [(9, 8), (3, 2)]


def test_what_differs_in_how_they_were_made_is_told_of_all() -> None:
    request = sweep("model schnell dev")
    made = {"kernel": "fused", "dtype": "bfloat16"}
    whole = merged(
        request,
        results(
            request,
            {"made_with": made | {"model": "FLUX.1-schnell", "revision": "a"}},
            {"made_with": made | {"model": "FLUX.1-dev"}},
        ),
    )
    assert whole.made_with == made | {"model": "FLUX.1-schnell, FLUX.1-dev", "revision": "a"}


def test_what_is_said_of_several_is_said_once_and_no_verdict_is_lost() -> None:
    request = sweep("steps 1 4")
    whole = merged(
        request,
        results(
            request,
            {"notes": ("long", "black"), "unsafe": (0.9,)},
            {"notes": ("long",), "unsafe": (0.1,)},
        ),
    )
    assert whole.notes == ("long", "black")
    assert whole.unsafe == (0.9, 0.1)


def test_a_picture_that_came_in_another_quantization_says_so_and_why() -> None:
    request = compare(ask(), 1)
    fallen = {"quantization": "None", "fallback_reason": "quantising failed"}
    whole = merged(request, results(request, fallen, {}))
    assert (whole.quantization, whole.fallback_reason) == ("None", "quantising failed")
    assert [cell.label for cell in whole.cells] == ["8-bit", "None"]
    assert [cell.quantization for cell in whole.cells] == ["None", "None"]
    assert [cell.fallback_reason for cell in whole.cells] == ["quantising failed", None]


def test_quantizations_are_compared_by_their_pixels() -> None:
    request = compare(ask(), 1)
    first, second = picture(1), picture(1, spread=30)
    whole = merged(request, results(request, {"images": (first,)}, {"images": (second,)}))
    before, after = (to_pixels(Image.open(io.BytesIO(each))) for each in (first, second))
    likeness = whole.cells[1].ssim
    assert likeness == pytest.approx(float(ssim(before, after)))
    assert likeness is not None
    assert 0.2 < likeness < 0.9
    assert whole.cells[0].ssim is None


def test_other_sweeps_are_not_compared() -> None:
    request = sweep("steps 1 4")
    alike = {"images": (picture(1),)}
    assert [c.ssim for c in merged(request, results(request, alike, alike)).cells] == [None, None]


@pytest.mark.parametrize(
    "other",
    [b"no picture", picture(1, size=(48, 64)), picture(1)[:200]],
    ids=["none", "size", "cut"],
)
def test_pictures_that_cannot_be_compared_cost_nobody_the_result(other: bytes) -> None:
    request = compare(ask(), 1)
    whole = merged(request, results(request, {"images": (picture(1),)}, {"images": (other,)}))
    assert whole.images == (picture(1), other)
    assert whole.cells[1].ssim is None


def test_pictures_too_small_for_a_window_are_not_compared() -> None:
    request = compare(ask(), 1)
    small = {"images": (picture(1, size=(10, 64)),)}
    assert merged(request, results(request, small, small)).cells[1].ssim is None
