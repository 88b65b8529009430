"""The page on how to add a tool: what it says is done to a copy of the bot, which then paints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "adding-a-tool.md"
TINY = Path("bot", "inference", "tiny")

YELLOW, GREEN = (230, 200, 40), (40, 150, 60)
PROMPT = "a large yellow circle on a green background"


def test_the_tool_of_the_page_paints_along_the_outlines_of_an_image(tmp_path: Path) -> None:
    follow_the_page(tmp_path)
    square = Image.new("RGB", (128, 128), "navy")
    ImageDraw.Draw(square).ellipse((24, 24, 104, 104), fill="white")
    square.save(tmp_path / "circle.png")
    command = f"/outline image:circle.png prompt:{PROMPT} seed:5 steps:12"
    process = subprocess.run(
        [sys.executable, "-m", "bot", "playground", "--save", "made", "--once", command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert process.returncode == 0, process.stderr
    painted = Image.open(next((tmp_path / "made").glob("outline-*.png")))
    inside, outside = ((64, 64), (64, 36), (36, 64)), ((8, 8), (120, 8), (8, 120), (120, 120))
    assert all(distance(painted.getpixel(each), YELLOW) < 100 for each in inside)
    assert all(distance(painted.getpixel(each), GREEN) < 100 for each in outside)
    control = Image.open(next((tmp_path / "made").glob("outline-*-control.webp"))).convert("L")
    # a circle around nothing
    assert control.crop((50, 50, 78, 78)).getextrema()[1] < 64
    assert control.crop((50, 18, 78, 34)).getextrema()[1] > 192


def follow_the_page(folder: Path) -> None:
    """Copy the bot into a folder, and change it there as the page says."""
    unwanted = shutil.ignore_patterns("__pycache__", TINY.name)
    shutil.copytree(REPOSITORY / "bot", folder / "bot", ignore=unwanted)
    (folder / TINY).symlink_to(REPOSITORY / TINY)
    text = PAGE.read_text("utf-8")
    changes = re.findall(r"^```diff\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(changes) == text.count("```diff")
    subprocess.run(
        ["git", "apply", "-"],
        cwd=folder,
        # a repository around the folder would have its say about what is changed in it
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)},
        input="".join(changes),
        text=True,
        check=True,
    )
    files = re.findall(r"^`(\S+)`:\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(files) == text.count("```python")
    for name, code in files:
        (folder / name).write_text(code, "utf-8")


def distance(one: object, other: tuple[int, int, int]) -> float:
    """Return how far apart two colours are."""
    return float(np.linalg.norm(np.array(one, float) - other))
