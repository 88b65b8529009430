"""Small pictures of results: those that may be seen, and that are there."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot.inference.types import Result
from bot.records import Job, Look
from bot.storage import Storage
from bot.thumbnails import hidden, thumbnails
from tests.doubles import result_for
from tests.records import ORIGIN, REQUEST

COLOURS = ("red", "green", "blue")


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    async with Storage.open(tmp_path) as storage:
        yield storage


def three() -> Result:
    pictures = []
    for colour in COLOURS:
        buffer = io.BytesIO()
        Image.new("RGB", (600, 300), colour).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    request = replace(REQUEST, count=3)
    return replace(result_for(request), images=tuple(pictures))


async def finished(storage: Storage, look: Look, unsafe: tuple[float, ...]) -> Job:
    job = await storage.add_job(replace(REQUEST, count=3), replace(ORIGIN, look=look))
    await storage.finish_job(job.id, replace(three(), unsafe=unsafe))
    return await storage.job(job.id)


async def test_they_are_small_and_in_order(storage: Storage) -> None:
    job = await finished(storage, Look(), ())
    small = await thumbnails(storage, job, side=100, at_most=2)
    assert [each.position for each in small] == [1, 2]
    for each in small:
        with Image.open(io.BytesIO(each.content)) as image:
            assert (image.format, image.size) == ("WEBP", (100, 50))


@pytest.mark.parametrize("verdict", ["blur", "withhold"])
async def test_what_is_not_shown_plainly_is_not_shown_small(storage: Storage, verdict: str) -> None:
    look = Look(verdict=verdict, threshold=0.5)  # type: ignore[arg-type]
    job = await finished(storage, look, (0.5, 0.49, 0.9))
    assert hidden(job) == {1, 3}
    assert [each.position for each in await thumbnails(storage, job, side=99, at_most=9)] == [2]


async def test_where_the_classifier_is_off_its_numbers_do_not_count(storage: Storage) -> None:
    job = await finished(storage, Look(verdict="off"), (1.0, 1.0, 1.0))
    assert hidden(job) == set()


async def test_files_that_are_gone_or_broken_are_passed_over(storage: Storage) -> None:
    job = await finished(storage, Look(), ())
    first, second, _ = await storage.images(job.id)
    first.path.unlink()
    second.path.write_bytes(b"no picture")
    assert [each.position for each in await thumbnails(storage, job, side=99, at_most=1)] == [3]


async def test_a_job_that_made_nothing_has_none(storage: Storage) -> None:
    job = await storage.add_job(REQUEST, ORIGIN)
    assert await thumbnails(storage, job, side=99, at_most=9) == ()
