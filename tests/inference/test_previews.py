"""Mask previews come from a light process, and no picture takes the bot down with it."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import psutil
import pytest
from PIL import Image

from bot.errors import RequestError, UnusableImage
from bot.inference.previews import MaskPreviews
from bot.inference.types import Region

from ..hostile import HOSTILE, SIZE, encode, scene

LEFT = Region(area="left")


@pytest.fixture(scope="module")
async def previews() -> AsyncIterator[MaskPreviews]:
    """One process for the tests that leave it alive."""
    async with MaskPreviews() as previews:
        yield previews


def picture() -> bytes:
    return encode(scene(), "PNG")


async def test_a_preview_shows_the_picture_with_its_mask(previews: MaskPreviews) -> None:
    shown = Image.open(io.BytesIO(await previews.render(picture(), None, LEFT)))
    assert shown.size == SIZE
    mask = encode(Image.new("L", SIZE, 255), "PNG")
    assert await previews.render(picture(), mask, Region()) != picture()


async def test_it_is_drawn_in_one_other_process_without_torch(previews: MaskPreviews) -> None:
    await previews.render(picture(), None, LEFT)
    (child,) = previews.process_ids
    assert child != os.getpid()
    process = psutil.Process(child)
    assert process.memory_info().rss < 150 * 1024**2
    assert not any("torch" in region.path for region in process.memory_maps())


async def test_other_files_are_looked_into_there_too(previews: MaskPreviews) -> None:
    assert await previews.look(_process_and_length, b"four") == (*previews.process_ids, 4)


def _process_and_length(content: bytes) -> tuple[int, int]:
    return os.getpid(), len(content)


async def test_a_refusal_arrives_as_itself(previews: MaskPreviews) -> None:
    with pytest.raises(UnusableImage, match="`mask` is damaged or incomplete"):
        await previews.render(picture(), HOSTILE["truncated PNG"].data, LEFT)
    with pytest.raises(RequestError, match="There is nothing to repaint yet") as caught:
        await previews.render(picture(), None, Region())
    assert type(caught.value) is RequestError


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_files_are_drawn_or_refused_by_the_same_process(
    previews: MaskPreviews, name: str
) -> None:
    await previews.render(picture(), None, LEFT)
    before = previews.process_ids
    file = HOSTILE[name]
    if file.usable and name != "1 × 40000":
        await previews.render(file.data, None, LEFT)
    else:
        with pytest.raises(UnusableImage):
            await previews.render(file.data, None, LEFT)
    assert previews.process_ids == before


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
async def test_the_largest_pictures_have_room(previews: MaskPreviews, kind: str) -> None:
    options = {"WEBP": {"method": 0}, "AVIF": {"speed": 10}, "PNG": {"compress_level": 1}}
    wide = scene("RGBA" if kind in ("PNG", "WEBP", "AVIF") else "RGB").resize((7300, 5450))
    if wide.mode == "RGBA":
        wide.putalpha(200)
    large = encode(wide, kind, **options.get(kind, {}))
    shown = await previews.render(large, None, LEFT)
    assert Image.open(io.BytesIO(shown)).width == 1024


async def test_what_takes_more_memory_than_allowed_is_refused_and_the_next_one_drawn() -> None:
    large = encode(Image.new("RGB", (6000, 5000)), "PNG")
    async with MaskPreviews(memory=60 * 1024**2) as previews:
        with pytest.raises(UnusableImage, match=r"memory"):
            await previews.render(large, None, LEFT)
        assert await previews.render(picture(), None, LEFT)


async def test_a_process_that_dies_over_a_picture_is_replaced() -> None:
    async with MaskPreviews() as previews:
        await previews.render(picture(), None, LEFT)
        (child,) = previews.process_ids
        os.kill(child, signal.SIGSTOP)  # so that it dies in the midst of it
        drawing = asyncio.create_task(previews.render(picture(), None, LEFT))
        await asyncio.sleep(0.1)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(UnusableImage, match="could not be read"):
            await drawing
        assert await previews.render(picture(), None, LEFT)
        assert previews.process_ids != (child,)


async def test_a_process_that_died_while_idle_is_nobodys_fault() -> None:
    async with MaskPreviews() as previews:
        await previews.render(picture(), None, LEFT)
        (child,) = previews.process_ids
        os.kill(child, signal.SIGKILL)
        while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert await previews.render(picture(), None, LEFT)


async def test_a_picture_that_takes_too_long_is_given_up() -> None:
    async with MaskPreviews(seconds=1.5) as previews:
        await previews.render(picture(), None, LEFT)
        (child,) = previews.process_ids
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(UnusableImage, match="takes too long"):
            await previews.render(picture(), None, LEFT)
        assert not psutil.pid_exists(child)
        assert await previews.render(picture(), None, LEFT)


async def test_a_member_who_goes_away_does_not_hold_up_the_next() -> None:
    async with MaskPreviews() as previews:
        await previews.render(picture(), None, LEFT)
        os.kill(previews.process_ids[0], signal.SIGSTOP)
        drawing = asyncio.create_task(previews.render(picture(), None, LEFT))
        await asyncio.sleep(0.05)
        drawing.cancel()
        assert await previews.render(picture(), None, LEFT)


async def test_several_at_once_take_turns(previews: MaskPreviews) -> None:
    shown = await asyncio.gather(*(previews.render(picture(), None, LEFT) for _ in range(4)))
    assert len(set(shown)) == 1
    assert len(previews.process_ids) == 1


async def test_the_start_waits_for_no_process_and_the_end_leaves_none() -> None:
    start = time.perf_counter()
    async with MaskPreviews() as previews:
        assert time.perf_counter() - start < 0.1
        await previews.render(picture(), None, LEFT)
        (child,) = previews.process_ids
    assert not psutil.pid_exists(child)
    async with MaskPreviews():
        pass  # closed before its process is there


async def test_ctrl_c_is_left_to_the_bot() -> None:
    async with MaskPreviews() as previews:
        await previews.render(picture(), None, LEFT)
        os.kill(previews.process_ids[0], signal.SIGINT)
        before = previews.process_ids
        await asyncio.sleep(0.1)
        assert await previews.render(picture(), None, LEFT)
        assert previews.process_ids == before


PROGRAM = """
import asyncio, sys
from bot.inference.previews import MaskPreviews
from bot.inference.types import Region

async def main():
    async with MaskPreviews() as previews:
        await previews.render(sys.stdin.buffer.read(), None, Region(area="left"))
        print(*previews.process_ids, flush=True)
        await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_a_bot_that_is_killed_leaves_no_process_behind() -> None:
    bot = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert bot.stdin is not None
    assert bot.stdout is not None
    bot.stdin.write(picture())
    bot.stdin.close()
    child = int(await bot.stdout.readline())
    assert psutil.pid_exists(child)
    bot.kill()
    await bot.wait()
    for _ in range(300):
        if not psutil.pid_exists(child):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the process lives on")
