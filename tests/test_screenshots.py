"""The photographs of the playground: what is done for them can be done, and all are shown."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from discord import AppCommandType
from PIL import Image

from bot.client import EXTENSIONS, FluxBot
from bot.config import Settings
from bot.playground.command_line import Offered, read
from tools.catalogue import template
from tools.screenshots import FOLDER, SCENES, WIDTHS, Choose, Fill, Press, Send, Step

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "screens.md")
SHOWN = re.compile(r"!\[([^\]]*)\]\(\S*screens/(\S+\.webp)\)")

LARGEST = 60_000
ALL_TOGETHER = 500_000

PLACE = re.compile(r"\\\{\w+\\\}")

OF_THE_PAGE = {"Submit"}
"""Labels that are simcord's own."""

STEPS = [step for scene in SCENES for step in scene.steps]
PICTURES = {f"{scene.name}-{device}.webp" for scene in SCENES for device in WIDTHS}


@cache
def texts() -> list[str]:
    """All that the bot says."""
    found = [message.id for message in template() if message.id]
    return [text for each in found for text in ([each] if isinstance(each, str) else each)]


def commands() -> list[Offered]:
    """The commands that members type."""

    async def loaded() -> list[Offered]:
        storage: Any = None  # no command is given
        client = FluxBot(Settings(flux_models="tiny"), storage)
        for extension in EXTENSIONS:
            await client.load_extension(extension)
        return client.tree.get_commands(type=AppCommandType.chat_input)

    return asyncio.run(loaded())


def labels(step: Step) -> Iterator[str]:
    """What somebody presses, chooses or fills in."""
    match step:
        case Press(label=label) | Choose(option=label):
            yield label
        case Fill(fields):
            yield from fields


def is_said(label: str, text: str) -> bool:
    """Tell whether a label is a text of the bot, with something in its places."""
    return re.fullmatch(PLACE.sub(".+", re.escape(text)), label) is not None


def test_every_command_that_is_sent_is_there_with_its_options() -> None:
    offered = commands()
    for step in STEPS:
        if isinstance(step, Send):
            options = " ".join(f'{name}:"{value}"' for name, value in step.options.items())
            assert read(f"/{step.command} {options}", offered).command == step.command


def test_every_label_that_is_looked_for_is_one_of_the_bots() -> None:
    for label in {label for step in STEPS for label in labels(step)} - OF_THE_PAGE:
        assert any(is_said(label, text) for text in texts()), label


def test_every_answer_that_is_waited_for_can_come() -> None:
    for step in STEPS:
        if isinstance(step, Send | Press | Choose):
            assert step.until
            assert any(step.until in text for text in texts()), step.until


def test_there_is_a_small_picture_of_every_scene_on_every_device_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == PICTURES
    sizes = [path.stat().st_size for path in FOLDER.iterdir()]
    assert max(sizes) <= LARGEST
    assert sum(sizes) <= ALL_TOGETHER


@pytest.mark.parametrize("device", WIDTHS)
def test_a_picture_is_no_wider_than_its_device(device: str) -> None:
    for path in FOLDER.glob(f"*-{device}.webp"):
        with Image.open(path) as picture:
            assert picture.format == "WEBP"
            assert picture.width <= WIDTHS[device]


def test_readme_and_docs_show_them_all_with_words_for_who_cannot_see_them() -> None:
    shown = [match for page in PAGES for match in SHOWN.findall(page.read_text(encoding="utf-8"))]
    assert {name for _, name in shown} == PICTURES
    assert all(20 < len(words) <= 250 for words, _ in shown)


def test_without_chromium_it_ends_with_one_sentence(tmp_path: Path) -> None:
    nowhere = {"PATH": "", "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path / "browsers")}
    folder = tmp_path / "screens"
    ended = subprocess.run(
        [sys.executable, "-m", "tools.screenshots", str(folder)],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    # the one or the other is missing, depending on what this machine has
    assert re.fullmatch(r"(There is no Chromium|Playwright is missing): .+\.\n", ended.stderr)
    assert list(folder.iterdir()) == []
