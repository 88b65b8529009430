"""Small pictures of the results that are kept, without those that nobody is to see plainly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.errors import UnusableImage
from bot.inference.images import encode_webp, open_image
from bot.records import Job
from bot.storage import Storage


@dataclass(frozen=True, kw_only=True, slots=True)
class Thumbnail:
    """A small picture as WebP, of one of a job's pictures, which are counted from 1."""

    job: Job
    position: int
    content: bytes


async def thumbnails(
    storage: Storage, job: Job, *, side: int, at_most: int, only: int | None = None
) -> tuple[Thumbnail, ...]:
    """Return the first pictures of a job that may be seen and are there, `side` pixels long.

    `only` is the position of a single one that is wanted.
    """
    unsafe = hidden(job)
    images = [
        each
        for each in await storage.images(job.id)
        if each.position not in unsafe and only in (None, each.position)
    ]
    files = [(each.position, each.path) for each in images]
    return await asyncio.to_thread(_drawn, job, files, side, at_most)


def hidden(job: Job) -> frozenset[int]:
    """Return the positions of the pictures that are blurred or withheld where they are shown."""
    if job.outcome is None:
        return frozenset()
    return job.origin.look.hidden(job.outcome.get("unsafe", ()), len(job.outcome["seeds"]))


def _drawn(
    job: Job, files: Sequence[tuple[int, Path]], side: int, at_most: int
) -> tuple[Thumbnail, ...]:
    drawn: list[Thumbnail] = []
    for position, file in files:
        if len(drawn) == at_most:
            break
        try:
            image = open_image(file.read_bytes(), at_most=side)
        except (OSError, UnusableImage):
            continue  # it is not kept any more
        content = encode_webp(image, side=side)
        drawn.append(Thumbnail(job=job, position=position, content=content))
    return tuple(drawn)
