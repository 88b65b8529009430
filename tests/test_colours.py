"""Colours that tell tools apart, for any eye and on both of Discord's grounds."""

from __future__ import annotations

from itertools import combinations

import discord
import numpy as np
import pytest

from bot.colours import ACCENTS, FAULT, QUIET, accent
from bot.inference.tools import TOOLS

GROUNDS = {"dark": discord.Colour(0x313338), "light": discord.Colour(0xFFFFFF)}

SIGHTS = {
    "all colours": np.eye(3),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no blue": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
"""What eyes without one kind of cones make of linear RGB (Machado, Oliveira and Fernandes 2009)."""

TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(colour: discord.Colour) -> np.ndarray:
    shares = np.array(colour.to_rgb()) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def oklab(colour: discord.Colour, sight: np.ndarray) -> np.ndarray:
    """Return a colour as it is seen, in coordinates whose distances are those that people see."""
    return TO_OKLAB @ np.cbrt(TO_CONES @ np.clip(sight @ linear(colour), 0, 1))


def contrast(one: discord.Colour, other: discord.Colour) -> float:
    bright, dark = sorted(
        (float(linear(each) @ (0.2126, 0.7152, 0.0722)) for each in (one, other)), reverse=True
    )
    return (bright + 0.05) / (dark + 0.05)


COLOURS = {**ACCENTS, "quiet": QUIET, "fault": FAULT}


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("one", "other"), list(combinations(COLOURS, 2)))
def test_no_two_colours_look_alike_to_any_eye(sight: str, one: str, other: str) -> None:
    seen = [oklab(COLOURS[each], SIGHTS[sight]) for each in (one, other)]
    # people see a difference from about 0.02 on
    assert np.linalg.norm(seen[0] - seen[1]) > 0.09


@pytest.mark.parametrize("theme", GROUNDS)
@pytest.mark.parametrize("command", ACCENTS)
def test_each_colour_stands_out_from_the_ground(command: str, theme: str) -> None:
    assert contrast(ACCENTS[command], GROUNDS[theme]) > 1.85


def test_each_tool_has_the_colour_of_its_command() -> None:
    assert {tool.command for tool in TOOLS.values()} == set(ACCENTS)
    assert all(accent(name) == ACCENTS[tool.command] for name, tool in TOOLS.items())
