"""What goes wrong and what a member sees then: scenarios that tests play, and the page of them.

A test bears `@pytest.mark.scenario(area, what goes wrong, outcome=what the member sees)`. With
`--write-reliability` the page is written from those that have passed in that very run.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
WRITE = "--write-reliability"

AREAS = {
    "REST": "Requests to Discord",
    "gateway": "The connection to Discord's gateway",
    "CDN": "Files that members attach",
    "process": "The bot's process, its disk and its clock",
    "worker": "The worker that makes the pictures",
}

HEAD = """\
# What happens when something fails

Discord has bad hours, networks drop, disks fill up and machines restart. For each of these the bot
is built to lose no picture, to show none twice, and to say in one sentence what it cannot do. Each
line below is a test: it starts the bot as `python -m bot` does, on a Discord on this machine that
fails in just that way, and looks at what the member gets.

"The picture arrives" means: once, in the message that the command was answered with, unless the
line says where else.

This page is written by `python -m pytest tests/wire --write-reliability`, which lists only what has
passed in that run. A test compares it with the scenarios that there are.
"""

_passed = pytest.StashKey[set[str]]()
_failed = pytest.StashKey[set[str]]()


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """One line of the page; `name` is that of its test."""

    name: str
    area: str
    event: str
    outcome: str


def scenarios() -> list[Scenario]:
    """Return all that there are, in the order in which the files have them."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"{__package__}.{path.stem}")
        found += [each for name, test in vars(module).items() for each in _of(test, name, module)]
    return found


def page(played: Iterable[Scenario]) -> str:
    """Return the page."""
    lines = [HEAD]
    rows = list(played)
    for area, title in AREAS.items():
        lines += [f"## {title}", "", "| What fails | What the member sees |", "|---|---|"]
        lines += [f"| {each.event} | {each.outcome} |" for each in rows if each.area == area]
        lines.append("")
    return "\n".join(lines)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    line = "scenario(area, event, outcome): a line of docs/reliability.md"
    config.addinivalue_line("markers", line)
    config.stash[_passed], config.stash[_failed] = set(), set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note which scenarios pass, in all their variations."""
    report: Any = yield
    if item.get_closest_marker("scenario") is not None:
        name = f"{item.module.__name__}.{item.originalname}"  # type: ignore[attr-defined]
        if report.failed or report.skipped:
            item.config.stash[_failed].add(name)
        elif report.when == "call":
            item.config.stash[_passed].add(name)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page, if that is asked for."""
    if session.config.getoption(WRITE):
        passed = session.config.stash[_passed] - session.config.stash[_failed]
        PAGE.write_text(page(each for each in scenarios() if each.name in passed), "utf-8")


def _of(test: Any, name: str, module: Any) -> Iterator[Scenario]:
    """Yield what a function of a module plays, if it is a test of that module."""
    if not name.startswith("test_") or getattr(test, "__module__", "") != module.__name__:
        return
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "scenario":
            area, event = mark.args
            assert area in AREAS, f"{name}: there is no area {area}"
            yield Scenario(name=f"{module.__name__}.{name}", area=area, event=event, **mark.kwargs)
