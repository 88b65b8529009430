"""The figures of a sweep, as they stand in its message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bot.inference.types import Cell, Sweep
from bot.tables import table

LONG = {"load": 400.0, "encode": 0.5, "denoise": 185.0, "decode": 14.5}


def cell(label: str, seconds: Mapping[str, float] | None = None, **values: Any) -> Cell:
    usual: dict[str, Any] = {
        "seed": 7,
        "peak": 17_300_000_000,
        "weights": 17_200_000_000,
        "quantization": "8-bit",
    }
    return Cell(label=label, seconds=seconds or {"denoise": 2.0}, **usual | values)


def lines(sweep: Sweep, *cells: Cell, **options: Any) -> list[str]:
    """Return the lines of the table alone."""
    _, block, _ = table(sweep, cells, **options).split("```")
    return block.strip("\n").split("\n")


def steps(*values: int) -> Sweep:
    return Sweep(option="steps", values=values)


COMPARISON = Sweep(option="quantization", values=("8-bit", "None"))
EIGHT_BIT = cell("8-bit", {"load": 30.0, "encode": 0.1, "denoise": 3.0})
FULL = cell(
    "None",
    {"load": 60.0, "denoise": 5.5},
    quantization="None",
    peak=33_900_000_000,
    weights=33_700_000_000,
    ssim=0.98766,
)


def test_each_picture_has_its_value_its_own_time_and_its_peak() -> None:
    told = lines(
        steps(1, 4, 16),
        cell("1", {"wait": 60.0, "load": 20.0, "encode": 0.25, "denoise": 0.25}),
        cell("4", peak=9_500_000),
        cell("16", LONG),
    )
    assert told == [
        "steps        time     peak",
        "1          0.50 s  17.3 GB",
        "4           2.0 s   9.5 MB",
        "16     3 min 20 s  17.3 GB",
    ]


def test_the_first_picture_is_not_blamed_for_what_was_loaded_for_all() -> None:
    assert "The times are without loading." in table(steps(1, 2), [cell("1", LONG), cell("2")])


@pytest.mark.parametrize(
    ("sweep", "label"),
    [
        (Sweep(option="seed", values=(4294967295,) * 16), "4294967295"),
        (Sweep(option="guidance", values=(3.123456,) * 16), "3.123456"),
        (Sweep(option="model", values=("schnell",) * 16), "schnell"),
        (Sweep(option="quantization", values=("8-bit",) * 16), "8-bit"),
    ],
)
def test_a_table_fits_a_phone_and_a_field_of_an_embed(sweep: Sweep, label: str) -> None:
    cells = [cell(label, LONG, peak=139_000_000_000, weights=139_000_000_000)] * 16
    told = lines(sweep, *cells)
    assert len(told) == 17
    assert max(map(len, told)) <= 40
    assert len(table(sweep, cells)) <= 1024


def test_memory_is_left_out_where_the_server_wants_none() -> None:
    told = lines(steps(1, 2), cell("1"), cell("2"), memory="off")
    assert told == ["steps   time", "1      2.0 s", "2      2.0 s"]


@pytest.mark.parametrize("memory", ["full", "off"])
def test_quantizations_are_compared_in_time_memory_and_likeness(memory: str) -> None:
    assert lines(COMPARISON, EIGHT_BIT, FULL, memory=memory) == [
        "        time     peak  weights",
        "8-bit  3.1 s  17.3 GB  17.2 GB",
        "None   5.5 s  33.9 GB  33.7 GB",
    ]
    _, words = table(COMPARISON, [EIGHT_BIT, FULL]).rsplit("```\n", 1)
    assert words == (
        "The times are without loading. At 8 bits the weights take 49 % less memory."
        " The likeness of the pictures (SSIM) is 0.9877, where 1 is the same."
    )


def test_more_memory_is_not_called_less() -> None:
    larger = cell("8-bit", weights=2 * FULL.weights)
    assert "the weights take 100 % more memory" in table(COMPARISON, [larger, FULL])


def test_nothing_is_saved_where_8_bits_could_not_be_had() -> None:
    fallen = cell("8-bit", quantization="None", fallback_reason="no", weights=FULL.weights)
    assert "At 8 bits" not in table(COMPARISON, [fallen, FULL])


def test_no_likeness_is_told_that_was_not_measured() -> None:
    other = cell("None", quantization="None")
    assert "SSIM" not in table(COMPARISON, [EIGHT_BIT, other])
