"""What fits where, by what was measured."""

from __future__ import annotations

import pytest

from bot.inference.sizes import GB, fits

MARGIN = 2 * 2**30


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
