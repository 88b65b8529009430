"""Numbers as people read them."""

from __future__ import annotations

import pytest

from bot.units import counted, format_bytes, format_seconds, format_wait


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


def test_one_thing_is_no_plural() -> None:
    assert [counted(n, "job") for n in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
