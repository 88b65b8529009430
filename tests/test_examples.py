"""The pictures of `/help`: one for each command, and truly those of the tiny models."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import pytest
from PIL import Image

from bot.examples import EXAMPLES, THUMBNAIL, picture, thumbnail
from bot.inference.similarity import Pixels, psnr, ssim, to_pixels
from bot.inference.tools import TOOLS
from tools.examples import SIDE, Studio

COMMANDS = sorted({tool.command for tool in TOOLS.values()})
LARGEST = 12_000
ALL_TOGETHER = 100_000


@dataclass(frozen=True)
class Alike:
    """How like a picture was to another: SSIM, and PSNR in dB."""

    ssim: float
    psnr: float


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def on_white(content: bytes) -> Pixels:
    image = opened(content).convert("RGBA")
    return to_pixels(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image))


def compare(one: bytes, other: bytes) -> Alike:
    first, second = on_white(one), on_white(other)
    return Alike(float(ssim(first, second)), float(psnr(first, second)))


@cache
def studio() -> Studio:
    """One studio for all: the models are loaded once."""
    return Studio()


def test_every_command_of_a_tool_has_an_example() -> None:
    assert sorted(EXAMPLES) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_the_models_of_this_repository_paint_it_again(command: str) -> None:
    alike = compare(studio().make(command), picture(command))
    # processors differ in the last digit, of which the steps make a little more
    assert alike.ssim > 0.97
    assert alike.psnr > 28


def test_pictures_of_different_commands_would_not_pass_for_each_other() -> None:
    alike = compare(picture("depth"), picture("canny"))
    assert alike.ssim < 0.9
    assert alike.psnr < 20


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_given_is_on_the_left_and_what_came_of_it_on_the_right(command: str) -> None:
    image = opened(picture(command))
    assert image.height == SIDE
    assert image.width == SIDE if command == "generate" else image.width > 2 * SIDE
    small = opened(thumbnail(command))
    assert small.size == (THUMBNAIL, THUMBNAIL)
    corner = small.convert("RGB").getpixel((THUMBNAIL - 3, 2))
    there = image.convert("RGB").getpixel((image.width - 6, 4))
    assert isinstance(corner, tuple)
    assert isinstance(there, tuple)
    assert max(abs(a - b) for a, b in zip(corner, there, strict=True)) < 24


def test_they_are_small() -> None:
    sizes = [len(picture(command)) for command in COMMANDS]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= ALL_TOGETHER
    assert max(len(thumbnail(command)) for command in COMMANDS) <= LARGEST


@pytest.mark.parametrize("command", COMMANDS)
def test_it_says_how_one_asks_for_it_and_what_is_to_be_seen(command: str) -> None:
    example = EXAMPLES[command]
    assert example.typed.startswith(f"/{command} ")
    for text in (example.description, example.result):
        assert 20 < len(text) <= 256
        assert not text.endswith(".")
