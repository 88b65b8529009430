"""A job that was made again: the one sentence on whether its pixels are the same."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.i18n import speaking
from bot.inference.types import Result
from bot.records import Job
from bot.replay import OTHER_PIXELS, agreement
from bot.storage import Storage
from tests.catalogues import Catalogues
from tests.doubles import result_for
from tests.records import ORIGIN, REQUEST

MADE_WITH = {
    "model": "black-forest-labs/FLUX.1-schnell",
    "revision": "abc",
    "kernel": "fused",
    "dtype": "bfloat16",
    "device": "NVIDIA H100",
    "torch": "2.11.0",
}


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path) as storage:
        yield storage


def png(colour: tuple[int, int, int], size: tuple[int, int] = (20, 10)) -> bytes:
    return encoded(Image.new("RGB", size, colour))


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def result(*pictures: bytes, **about: Any) -> Result:
    return replace(result_for(REQUEST), images=pictures, made_with=MADE_WITH, **about)


async def pair(storage: Storage, earlier: Result) -> tuple[Job, Job]:
    """Return a job that was made, and one that is to make it again."""
    request = replace(REQUEST, count=len(earlier.images))
    earlier = replace(earlier, seeds=request.seeds)
    first = await storage.add_job(request, ORIGIN)
    await storage.finish_job(first.id, earlier)
    await storage.mark_delivered(first.id)
    return first, await storage.add_job(request, ORIGIN, repeats=first.id)


GREY = png((100, 100, 100))


async def test_the_same_pixels_are_the_same_whatever_the_file(storage: Storage) -> None:
    _, again = await pair(storage, result(GREY))
    with Image.open(io.BytesIO(GREY)) as image:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=0)
    said = await agreement(storage, again, result(buffer.getvalue()))
    assert said == "The pixels are the same as in job 1."


async def test_a_difference_is_told_in_numbers(storage: Storage) -> None:
    _, again = await pair(storage, result(GREY))
    said = await agreement(storage, again, result(png((100, 103, 100))))
    assert said == (
        "This repeats job 1, and its pixels differ by 1 of 255 on average, 3 at most"
        " (PSNR 43.4 dB), though it was made with the same."
    )


async def test_the_last_rows_count_as_much_as_the_first(storage: Storage) -> None:
    tall = (20, 70)
    before, after = Image.new("RGB", tall, "black"), Image.new("RGB", tall, "black")
    after.putpixel((19, 69), (0, 0, 250))
    _, again = await pair(storage, result(encoded(before)))
    said = await agreement(storage, again, result(encoded(after)))
    assert "differ by 0.06 of 255 on average, 250 at most (PSNR 36.4 dB)" in said


async def test_large_pictures_are_compared_in_little_memory(storage: Storage) -> None:
    large = (2000, 1500)
    _, again = await pair(storage, result(png((100, 100, 100), large)))
    later = result(png((103, 103, 103), large))
    tracemalloc.start()
    try:
        said = await agreement(storage, again, later)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "3 at most" in said
    assert peak < 3 * 2000 * 1500  # what one of them has in bytes


async def test_of_several_pictures_the_worst_counts(storage: Storage) -> None:
    _, again = await pair(storage, result(GREY, GREY))
    said = await agreement(storage, again, result(GREY, png((109, 109, 109))))
    assert "differ by 9 of 255 on average, 9 at most" in said


async def test_what_has_changed_since_is_named(storage: Storage) -> None:
    _, again = await pair(storage, result(GREY))
    changed = MADE_WITH | {"revision": "def", "kernel": "none", "torch": "2.12.0"}
    later = replace(result(png((0, 0, 0)), quantization="None"), made_with=changed)
    said = await agreement(storage, again, later)
    assert said.endswith(
        "; what has changed is the quantization (8-bit, now None), the model's revision (abc, now"
        " def), the kernel (fused, now none) and torch (2.11.0, now 2.12.0)."
    )


async def test_what_has_changed_is_one_sentence_of_the_members_language(
    storage: Storage, catalogues: Catalogues
) -> None:
    french = "Ceci reprend la tâche {job} : {mean}, {largest}, {psnr} dB. Ont changé {changes}."
    catalogues.add("fr", {OTHER_PIXELS["changed"]: french, "the kernel": "le noyau"})
    _, again = await pair(storage, result(GREY))
    changed = MADE_WITH | {"kernel": "none", "torch": "2.12.0"}
    with speaking("fr"):
        later = replace(result(png((100, 103, 100))), made_with=changed)
        said = await agreement(storage, again, later)
    assert said == (
        "Ceci reprend la tâche 1 : 1, 3, 43,4 dB. Ont changé le noyau (fused, now none) et torch"
        " (2.11.0, now 2.12.0)."
    )


async def test_what_was_not_noted_then_is_not_known(storage: Storage) -> None:
    _, again = await pair(storage, replace(result(GREY), made_with={}))
    said = await agreement(storage, again, result(png((0, 0, 0))))
    assert said.endswith("; what it was made with was not noted then.")


async def test_another_size_is_not_compared(storage: Storage) -> None:
    _, again = await pair(storage, result(GREY))
    said = await agreement(storage, again, result(png((100, 100, 100), (10, 20))))
    assert said.startswith("This repeats job 1, but in another size")


async def test_pictures_that_are_not_kept_are_not_compared(storage: Storage) -> None:
    first, again = await pair(storage, result(GREY))
    await storage.disposal.delete_files(0)
    said = await agreement(storage, again, result(GREY))
    assert said == "This repeats job 1, whose pictures are not kept any more."
    await storage.disposal.delete(first.id)
    said = await agreement(storage, again, result(GREY))
    assert said == "This repeats job 1, which is not kept any more."


async def test_a_job_that_made_nothing_is_no_measure(storage: Storage) -> None:
    first = await storage.add_job(REQUEST, ORIGIN)
    await storage.end_job(first.id, "failed", "out of memory")
    again = await storage.add_job(REQUEST, ORIGIN, repeats=first.id)
    said = await agreement(storage, again, result(GREY))
    assert said == "This repeats job 1, which made no pictures."


@pytest.mark.parametrize("content", [b"", b"no picture", GREY[:40]])
async def test_a_file_that_is_broken_is_no_measure(storage: Storage, content: bytes) -> None:
    first, again = await pair(storage, result(GREY))
    (image,) = await storage.images(first.id)
    image.path.write_bytes(content)
    said = await agreement(storage, again, result(GREY))
    assert said == "This repeats job 1, whose pictures cannot be read any more."
