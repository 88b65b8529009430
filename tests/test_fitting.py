"""Pictures that are too large for Discord, made smaller without holding up the bot."""

from __future__ import annotations

import asyncio
import io
import time
from functools import cache

import numpy as np
import pytest
from PIL import Image

from bot.colours import ACCENT
from bot.fitting import fitted
from bot.inference.metadata import describe, read_metadata, read_parameters, with_metadata
from bot.rendering import Attachment, Message

from .test_storage import REQUEST

TWELVE_MEGAPIXELS = (4000, 3000)


@cache
def photo(size: tuple[int, int], noise: float = 8.0) -> bytes:
    """Return a picture as PNG that is about as hard to compress as a photo."""
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 255, (max(1, size[1] // 10), max(1, size[0] // 10), 3), np.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(smooth) + draw.normal(0, noise, (size[1], size[0], 3))
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def message(*contents: bytes) -> Message:
    files = (
        Attachment(filename=f"fill-1-{n}.png", content=content, description="a", spoiler=True)
        for n, content in enumerate(contents, 1)
    )
    return Message(title="FLUX.1 Fill", text="a", colour=ACCENT, attachments=tuple(files))


def opened(file: Attachment) -> Image.Image:
    return Image.open(io.BytesIO(file.content))


async def test_a_picture_of_twelve_megapixels_becomes_webp_of_the_same_size_in_a_few_seconds() -> (
    None
):
    content = photo(TWELVE_MEGAPIXELS)
    limit = 10 * 2**20
    assert len(content) > limit
    before = time.perf_counter()
    sent = await fitted(message(content), limit)
    assert time.perf_counter() - before < 15
    (file,) = sent.attachments or ()
    assert len(file.content) <= limit
    assert (file.filename, file.spoiler, file.description) == ("fill-1-1.webp", True, "a")
    picture = opened(file)
    assert (picture.format, picture.size) == ("WEBP", TWELVE_MEGAPIXELS)
    (note,) = sent.embed.fields
    assert note.value == "Sent as WebP, for Discord takes no file above 10.5 MB here."


async def test_the_bot_goes_on_while_a_picture_is_made_smaller() -> None:
    pauses = [0.0]

    async def look() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            pauses.append(time.perf_counter() - before)

    looking = asyncio.create_task(look())
    await fitted(message(photo((2000, 1500))), 2_000_000)
    looking.cancel()
    assert max(pauses) < 0.5
    assert len(pauses) > 10


async def test_files_that_fit_stay_as_they_are() -> None:
    small, large = photo((64, 64)), photo((640, 480))
    sent = await fitted(message(small, large, b"control"), 200_000)
    assert sent.attachments
    assert [file.filename for file in sent.attachments] == [
        "fill-1-1.png",
        "fill-1-2.webp",
        "fill-1-3.png",
    ]
    assert sent.attachments[0].content == small
    assert sent.attachments[2].content == b"control"
    untouched = message(small)
    assert await fitted(untouched, 200_000) is untouched


async def test_the_quality_goes_down_only_as_far_as_it_has_to() -> None:
    content = photo((640, 480))
    sizes = []
    for limit in (200_000, 100_000, 45_000):
        (file,) = (await fitted(message(content), limit)).attachments or ()
        assert len(file.content) <= limit
        sizes.append(len(file.content))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


async def test_what_is_too_long_for_webp_becomes_jpeg() -> None:
    sent = await fitted(message(photo((16400, 40))), 1_000_000)
    (file,) = sent.attachments or ()
    assert file.filename == "fill-1-1.jpg"
    assert opened(file).size == (16400, 40)
    assert (sent.embed.fields[0].value or "").startswith("Sent as JPEG, ")


async def test_a_picture_made_smaller_still_says_how_it_was_made() -> None:
    said = describe(REQUEST, {}, {"model": "FLUX.1-dev", "bot": "0.1.0"})
    for size, suffix in (((640, 480), ".webp"), ((16400, 40), ".jpg")):
        with Image.open(io.BytesIO(photo(size))) as picture:
            content = with_metadata(picture, said)
        (file,) = (await fitted(message(content), 200_000)).attachments or ()
        assert file.filename.endswith(suffix)
        assert read_metadata(file.content) == read_metadata(content)
        assert read_parameters(file.content) == read_parameters(content)


async def test_what_is_no_picture_is_left_for_discord_to_refuse() -> None:
    untouched = message(b"no picture" * 100)
    assert await fitted(untouched, 500) is untouched


async def test_what_cannot_be_made_small_enough_is_left_for_discord_to_refuse() -> None:
    untouched = message(photo((640, 480)))
    assert await fitted(untouched, 500) is untouched


@pytest.mark.parametrize("attachments", [None, ()])
async def test_a_message_without_files_is_left_alone(attachments: tuple[()] | None) -> None:
    bare = Message(title="", text="", colour=ACCENT, attachments=attachments)
    assert await fitted(bare, 1) is bare
