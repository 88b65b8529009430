"""Words become a mask in a process of their own, before anything is painted."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal

import numpy as np
import psutil
import pytest
from PIL import Image

from bot.errors import ModelUnavailable, RequestError, UnusableImage
from bot.inference.finder import MaskFinder
from bot.inference.protocol import WorkerOptions
from tools.train_tiny.exam_words import overlap

from ..hostile import HOSTILE, encode
from .test_segmentation import circle_and_square

TINY = WorkerOptions(family="tiny")


def red_circle(size: tuple[int, int] = (128, 128)) -> bytes:
    return encode(circle_and_square(size)[0], "PNG")


async def test_a_mask_is_a_grey_png_of_the_picture(finder: MaskFinder) -> None:
    mask = Image.open(io.BytesIO(await finder.find(red_circle((640, 400)), "the red circle")))
    assert (mask.format, mask.mode, mask.size) == ("PNG", "L", (640, 400))
    truth = circle_and_square((640, 400))[1]
    assert overlap(np.asarray(mask) > 0, truth) >= 0.8


async def test_of_a_large_picture_the_mask_is_smaller(finder: MaskFinder) -> None:
    mask = Image.open(io.BytesIO(await finder.find(red_circle((4000, 3000)), "the red circle")))
    assert mask.size == (1024, 768)
    truth = circle_and_square((1024, 768))[1]
    assert overlap(np.asarray(mask) > 0, truth) >= 0.8


async def test_a_photo_that_lies_on_its_side_is_looked_at_upright(finder: MaskFinder) -> None:
    image, truth = circle_and_square((160, 128))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(buffer, "JPEG", exif=exif, quality=95)
    mask = Image.open(io.BytesIO(await finder.find(buffer.getvalue(), "the red circle")))
    assert overlap(np.asarray(mask) > 0, truth) >= 0.8


async def test_what_is_not_there_is_refused_in_a_sentence(finder: MaskFinder) -> None:
    with pytest.raises(RequestError, match="`the hat` could not be found in the picture") as error:
        await finder.find(red_circle(), "the hat")
    assert type(error.value) is RequestError


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_files_are_read_or_refused_by_the_same_process(
    finder: MaskFinder, name: str
) -> None:
    await finder.find(red_circle(), "circle")
    before = finder.process_ids
    with pytest.raises(RequestError) as error:
        await finder.find(HOSTILE[name].data, "the hat")
    assert isinstance(error.value, UnusableImage) is not HOSTILE[name].usable
    assert finder.process_ids == before


async def test_the_process_is_not_ours_and_its_memory_is_limited(finder: MaskFinder) -> None:
    await finder.find(red_circle(), "circle")
    (child,) = finder.process_ids
    process = psutil.Process(child)
    assert child != os.getpid()
    soft, hard = process.rlimit(psutil.RLIMIT_AS)
    assert soft == hard != psutil.RLIM_INFINITY
    assert soft < process.memory_info().vms + 3 * 1024**3


async def test_it_starts_at_the_first_words_and_takes_its_memory_back_when_idle() -> None:
    async with MaskFinder(TINY, idle=0.05) as finder:
        assert finder.process_ids == ()
        assert await finder.find(red_circle(), "circle")
        async with asyncio.timeout(10):
            while finder.process_ids:
                await asyncio.sleep(0.01)
        assert await finder.find(red_circle(), "circle")


async def test_a_process_that_dies_over_its_model_is_a_sentence(finder: MaskFinder) -> None:
    await finder.find(red_circle(), "circle")
    os.kill(finder.process_ids[0], signal.SIGSTOP)  # so that it dies in the midst of it
    finding = asyncio.create_task(finder.find(red_circle(), "circle"))
    await asyncio.sleep(0.1)
    os.kill(finder.process_ids[0], signal.SIGKILL)
    with pytest.raises(ModelUnavailable, match=r"its process ended\. Please try again\.$"):
        await finding
    assert await finder.find(red_circle(), "circle")


async def test_a_picture_that_takes_too_long_is_given_up(
    finder: MaskFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "_seconds", 0.0)
    with pytest.raises(UnusableImage, match="takes too long"):
        await finder.find(red_circle(), "circle")


async def test_a_model_that_is_not_there_is_a_sentence_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    async with MaskFinder(WorkerOptions(family="flux", segmenter="me/mine")) as finder:
        with pytest.raises(ModelUnavailable, match=r"^The model me/mine could not be loaded: "):
            await finder.find(red_circle(), "circle")
    assert "words cannot be turned into masks: The model me/mine" in caplog.text


async def test_the_end_leaves_no_process() -> None:
    async with MaskFinder(TINY) as finder:
        await finder.find(red_circle(), "circle")
        (child,) = finder.process_ids
    assert not psutil.pid_exists(child)
    async with MaskFinder(TINY):
        pass  # nothing was ever asked of it
