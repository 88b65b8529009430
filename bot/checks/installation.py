"""Whether Python and the packages are new enough, and those that the bot was tested with."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from bot.checks.finding import Finding, fault, ok, unchecked, warning

DISTRIBUTION = "flux-discord-bot"
OLDEST_PYTHON = (3, 11)
TESTED_PYTHON = (3, 11)

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
"""The tested versions, which a checkout has and an installed package has not."""

INSTALL = "pip install --constraint constraints.txt --editable ."


def check_python() -> Finding:
    """Look at the version of Python."""
    running = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return fault("Python", f"{running}, which is too old", "install Python 3.11 or newer")
    if sys.version_info[:2] != TESTED_PYTHON:
        return ok("Python", f"{running} (the bot is tested with {_dotted(TESTED_PYTHON)})")
    return ok("Python", running)


def check_packages(
    requirements: list[str] | None = None, constraints: Path = CONSTRAINTS
) -> Finding:
    """Compare the packages that the bot needs to what it asks for, and to the tested set."""
    if requirements is None:
        try:
            requirements = requires(DISTRIBUTION) or []
        except PackageNotFoundError:
            return unchecked("packages", "the bot itself is not installed as a package")
    needed = [each for each in map(Requirement, requirements) if _applies(each)]
    installed = {each.name: _installed(each.name) for each in needed}
    missing = [name for name, found in installed.items() if found is None]
    if missing:
        return fault("packages", f"there is no {', '.join(missing)}", INSTALL)
    wrong = [
        f"{each.name} {installed[each.name]}, needed {each.specifier}"
        for each in needed
        if not each.specifier.contains(installed[each.name] or "", prereleases=True)
    ]
    if wrong:
        return fault("packages", "; ".join(wrong), INSTALL)
    tested = _tested(constraints)
    others = [
        f"{name} {found} (tested: {tested[name]})"
        for name, found in installed.items()
        if found is not None and name in tested and _public(found) != _public(tested[name])
    ]
    if others:
        return warning("packages", f"not the tested versions: {', '.join(others)}", INSTALL)
    set_of = "all of the tested versions" if tested else "new enough"
    return ok("packages", f"{len(installed)} that the bot needs, {set_of}")


def _applies(requirement: Requirement) -> bool:
    """Tell whether a requirement is one of this system, and of no extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _tested(constraints: Path) -> Mapping[str, str]:
    """Return the tested versions by the names in lower case with hyphens; none without the file."""
    if not constraints.is_file():
        return {}
    lines = constraints.read_text(encoding="utf-8").splitlines()
    pins = (line.partition("==") for line in lines if not line.startswith("#"))
    return {name.lower().replace("_", "-"): pinned.strip() for name, _, pinned in pins if pinned}


def _public(found: str) -> str:
    """Return a version without what tells builds apart: 2.13.0 for 2.13.0+cu130."""
    return Version(found).public


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
