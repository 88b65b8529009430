"""What fits where, by what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.inference.sizes import GB, SIZES, fits
from bot.inference.tools import TOOLS

MARGIN = 2 * 2**30
PAGE = Path(__file__).parents[2] / "docs" / "sizing.md"
ROWS = re.findall(
    r"^\| (\d+) GB \| [^|]+ \| ([^|]+) \| ([^|]+) \| (\d) \|$",
    PAGE.read_text("utf-8"),
    re.MULTILINE,
)
SEEN = 0.97
"""The share of a card's memory that programs see of it."""


def said(gigabytes: float) -> list[str]:
    """Return what fits a GPU that has so much memory and leaves the bot all of it."""
    total = int(gigabytes * GB)
    return [str(fit) for fit in fits(total, total - MARGIN)]


@pytest.mark.parametrize(
    ("gigabytes", "eight_bit", "standard"),
    [
        (8, "8-bit: nothing (needs 12.1 GB)", "None: nothing (needs 24.0 GB)"),
        (14.5, "8-bit: all tools, small square only, parts take turns", "None: nothing"),
        (16, "8-bit: all tools, all sizes, parts take turns", "None: nothing"),
        (24, "8-bit: all tools, all sizes, weights stay", "None: nothing"),
        (32, "8-bit: all tools, all sizes, weights stay", "None: all tools, all sizes, parts"),
        (80, "8-bit: all tools, all sizes, weights stay", "None: all tools, all sizes, weights"),
    ],
)
def test_what_fits_a_gpu(gigabytes: float, eight_bit: str, standard: str) -> None:
    first, second = said(gigabytes)
    assert first.startswith(eight_bit)
    assert second.startswith(standard)


def test_a_budget_that_is_set_goes_before_what_the_gpu_has() -> None:
    total = 80 * GB
    assert [fit.sizes for fit in fits(total, 12 * GB)] == [None, None]
    assert [fit.together for fit in fits(total, 13 * GB)] == [False, False]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} GB")
def test_the_page_for_operators_says_what_fits(row: tuple[str, str, str, str]) -> None:
    memory, *by_quantization, models = row
    total = int(SEEN * int(memory) * 2**30)
    budget = total - MARGIN
    found = [str(fit).partition(": ")[2].removeprefix("all tools, ") for fit in fits(total, budget)]
    assert [each.partition(" (")[0] for each in found] == by_quantization
    sizes = SIZES["8-bit"]
    transformers = len({tool.transformer_repo_id for tool in TOOLS.values()})
    more = max(-1, (budget - sizes.together) // sizes.transformer)
    assert min(transformers, more + 1) == int(models)
