"""`python -m bot benchmark` measures what is there and writes what it has found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from bot.errors import RequestError
from bot.inference.benchmark import Plan, benchmark
from bot.inference.protocol import WorkerOptions

OPTIONS = WorkerOptions(family="tiny", device="cpu")


def test_each_tool_is_measured_in_both_forms_and_both_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark(OPTIONS, Plan(tools=("schnell", "redux"), steps=4, runs=1), tmp_path / "out")
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith(("| schnell", "| redux"))]
    assert [row.split(" | ")[1] for row in rows] == ["standard", "8-bit"] * 2
    assert (tmp_path / "out" / "benchmark.md").read_text() == printed
    found = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    for pair in found["pairs"]:
        full, eight = pair["standard"], pair["8-bit"]
        assert (full["quantization"], eight["quantization"]) == ("None", "8-bit")
        assert eight["memory"]["resident"] < 0.6 * full["memory"]["resident"]
        assert full["memory"]["weights"]["actual"] <= full["memory"]["resident"]
        assert full["steps"] == 4
        assert full["seconds"] >= 4 * full["step_seconds"] > 0
    assert [pair["standard"]["tool"] for pair in found["pairs"]] == ["schnell", "redux"]
    assert found["pairs"][0]["ssim"] > 0.95
    # red on blue in both pictures of the first tool
    with Image.open(tmp_path / "out" / "benchmark.png") as sheet:
        for x in (128, 256 + 128):
            red, _, blue = sheet.convert("RGB").getpixel((x, 24 + 128))  # type: ignore[misc]
            assert red > 2 * blue


def test_an_unknown_tool_or_size_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="pencil"):
        benchmark(OPTIONS, Plan(tools=("pencil",)), tmp_path)
    with pytest.raises(RequestError, match="huge"):
        benchmark(OPTIONS, Plan(sizes=("huge",)), tmp_path)
    assert list(tmp_path.iterdir()) == []
