"""Packages are compared to what the bot asks for, and to what it was tested with."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from bot.checks.installation import check_packages, check_python

AIOSQLITE = version("aiosqlite")


@pytest.fixture
def constraints(tmp_path: Path) -> Path:
    """A file with a tested version that is another one."""
    file = tmp_path / "constraints.txt"
    file.write_text("# tested\naiosqlite==0.0.1\n")
    return file


def test_this_python_is_new_enough() -> None:
    assert check_python().state == "ok"


def test_this_installation_is_new_enough() -> None:
    assert check_packages().state in ("ok", "warning")


def test_a_package_that_is_too_old_is_a_fault_with_both_versions() -> None:
    finding = check_packages(["aiosqlite>=999"])
    assert finding.state == "fault"
    assert finding.found == f"aiosqlite {AIOSQLITE}, needed >=999"
    assert finding.mend.startswith("pip install --constraint")


def test_a_package_that_is_missing_is_a_fault() -> None:
    assert check_packages(["no-such-thing>=1"]).found == "there is no no-such-thing"


def test_what_only_an_extra_or_another_system_needs_is_not_asked_for() -> None:
    others = ['no-such-thing; extra == "ray"', 'no-such-thing; platform_system == "Other"']
    assert check_packages(["aiosqlite", *others]).state == "ok"


def test_another_version_than_the_tested_one_is_a_warning(constraints: Path) -> None:
    finding = check_packages(["aiosqlite"], constraints)
    assert finding.state == "warning"
    assert f"aiosqlite {AIOSQLITE} (tested: 0.0.1)" in finding.found


def test_the_build_of_a_version_is_left_out_of_account(constraints: Path) -> None:
    constraints.write_text(f"aiosqlite=={AIOSQLITE}+cu130\n")
    assert check_packages(["aiosqlite"], constraints).found.endswith("all of the tested versions")


def test_without_the_list_of_tested_versions_new_enough_is_enough(tmp_path: Path) -> None:
    finding = check_packages(["aiosqlite"], tmp_path / "constraints.txt")
    assert (finding.state, finding.found) == ("ok", "1 that the bot needs, new enough")
