"""Numbers as people read them."""

from __future__ import annotations

import pytest

from bot.i18n import speaking
from bot.units import format_bytes, format_seconds, format_wait

from .catalogues import Catalogues


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0.0 MB"), (999, "1.0 kB"), (12_345, "12.3 kB"), (8.8e6, "8.8 MB"), (16.67e9, "16.7 GB")],
)
def test_sizes_have_one_decimal_and_a_fitting_unit(count: float, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.158, "0.16 s"), (4.23, "4.2 s"), (59.96, "60.0 s"), (200, "3 min 20 s")],
)
def test_durations_are_finer_the_shorter_they_are(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (29.6, "30 s"), (170, "3 min"), (7300, "2 h 2 min")]
)
def test_forecasts_are_no_finer_than_they_are_good(seconds: float, text: str) -> None:
    assert format_wait(seconds) == text


def test_numbers_and_units_are_those_of_the_language_that_is_spoken(
    catalogues: Catalogues,
) -> None:
    catalogues.add("fr", {"{size} GB": "{size} Go", "{minutes} min": "{minutes} minutes"})
    with speaking("fr"):
        assert format_bytes(16.67e9) == "16,7 Go"
        assert format_seconds(4.23) == "4,2 s"
        assert format_wait(170) == "3 minutes"
    assert format_bytes(16.67e9) == "16.7 GB"
