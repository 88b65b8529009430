"""The sheet of a sweep: each picture in its place, below what was varied."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bot.inference.types import Sweep
from bot.sheets import BACKGROUND, GAP, MOST_SIDE, labelled

COLOURS = [(200, 30, 40), (30, 180, 60), (40, 60, 220), (230, 200, 20)]


def flat(number: int, size: tuple[int, int] = (128, 128)) -> Image.Image:
    return Image.new("RGB", size, COLOURS[number % len(COLOURS)])


def steps(*values: int) -> Sweep:
    return Sweep(option="steps", values=values)


def sheet(count: int, size: tuple[int, int] = (128, 128)) -> Image.Image:
    return labelled([flat(number, size) for number in range(count)], steps(*range(1, count + 1)))


def ink(image: Image.Image) -> tuple[int, int]:
    """Return width and height of what is written on a ground."""
    pixels = np.asarray(image.convert("L"), int)
    rows, columns = np.nonzero(pixels > 120)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def is_empty(image: Image.Image) -> bool:
    return bool((np.asarray(image) == BACKGROUND).all())


def test_two_small_pictures_lie_side_by_side_below_their_titles() -> None:
    image = sheet(2)
    strip = image.height - 128
    assert image.width == 2 * 128 + GAP
    for number in range(2):
        left = number * (128 + GAP)
        cell = image.crop((left, strip, left + 128, image.height))
        assert cell.getcolors() == [(128 * 128, COLOURS[number])]
        width, height = ink(image.crop((left, 0, left + 128, strip)))
        assert 8 <= height <= strip
        assert 20 <= width <= 128
    assert is_empty(image.crop((128, 0, 128 + GAP, image.height)))


def test_pixels_are_those_of_the_picture_where_there_is_room() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 144, 3), np.uint8)
    image = labelled([Image.fromarray(noise), flat(0, (144, 96))], steps(1, 2))
    assert np.array_equal(np.asarray(image)[-96:, :144], noise)


@pytest.mark.parametrize(
    ("count", "columns", "lines"),
    [(2, 2, 1), (3, 3, 1), (4, 2, 2), (5, 3, 2), (6, 3, 2), (8, 4, 2), (9, 3, 3), (16, 4, 4)],
)
def test_pictures_make_a_block_with_few_gaps(count: int, columns: int, lines: int) -> None:
    image = sheet(count)
    assert round(image.width / (128 + GAP)) == columns
    assert image.height // 128 == lines


@pytest.mark.parametrize("count", [2, 3, 7, 16])
@pytest.mark.parametrize("size", [(1024, 1024), (768, 1344), (1344, 768), (4000, 500), (500, 4000)])
def test_no_sheet_is_too_large_and_each_title_is_to_be_read_on_the_whole(
    count: int, size: tuple[int, int]
) -> None:
    image = sheet(count, size)
    assert max(image.size) <= MOST_SIDE
    columns = {2: 2, 3: 3, 7: 4, 16: 4}[count]
    width = (image.width + GAP) // columns - GAP
    strip = next(y for y in range(image.height) if image.getpixel((0, y)) == COLOURS[0])
    _, height = ink(image.crop((0, 0, width, strip)))
    # Discord shows a picture 550 pixels wide or less
    assert 550 * height / image.width >= 8


def test_small_things_are_not_enlarged() -> None:
    assert sheet(4).width == 2 * 128 + GAP


@pytest.mark.parametrize(
    "sweep",
    [
        Sweep(option="quantization", values=("8-bit", "None")),
        Sweep(option="seed", values=(4294967294, 4294967295)),
    ],
)
@pytest.mark.parametrize("side", [64, 128])
def test_long_titles_of_small_pictures_do_not_run_into_each_other(sweep: Sweep, side: int) -> None:
    image = labelled([flat(n, (side, side)) for n in range(2)], sweep)
    strip = image.height - side
    assert is_empty(image.crop((side + 1, 0, side + GAP - 1, strip)))
    assert ink(image.crop((0, 0, side, strip)))[1] >= 5


def test_the_place_of_a_picture_that_is_withheld_is_empty_and_named() -> None:
    image = labelled([flat(0), None, flat(2)], steps(1, 2, 3))
    strip = image.height - 128
    left = 128 + GAP
    assert is_empty(image.crop((left, strip, left + 128, image.height)))
    assert ink(image.crop((left, 0, left + 128, strip)))[1] >= 8
    assert image.getpixel((image.width - 64, image.height - 64)) == COLOURS[2]


def test_each_title_is_the_option_with_its_value() -> None:
    def title(sweep: Sweep, number: int) -> bytes:
        image = labelled([flat(0)] * 3, sweep)
        left = number * (128 + GAP)
        return image.crop((left, 0, left + 128, image.height - 128)).tobytes()

    assert title(steps(4, 8, 16), 0) == title(steps(1, 4, 2), 1) != title(steps(4, 8, 16), 1)
    guidance = Sweep(option="guidance", values=(4.0, 8.0, 16.0))
    assert title(guidance, 0) != title(steps(4, 8, 16), 0)
    assert title(guidance, 0) == title(replace(guidance, values=(1.0, 4.0, 2.0)), 1)
