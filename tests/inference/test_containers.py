"""How much memory there is, where a container or a service leaves less than the machine has."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from bot.inference import containers
from bot.inference.containers import host_memory
from bot.inference.memory import host_budget

MACHINE = psutil.virtual_memory().total
MB = 1024**2


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control groups of a machine, in a folder."""
    monkeypatch.setattr(containers, "GROUPS", tmp_path)
    monkeypatch.setattr(containers, "OWN_GROUPS", tmp_path / "own")
    return tmp_path


def write(folder: Path, limit: object, *, used: int = 0, cached: int = 0, version: int = 2) -> None:
    """Write what the kernel tells of a group."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {2: ("max", "current", ""), 1: ("limit_in_bytes", "usage_in_bytes", "total_")}
    most, now, prefix = names[version]
    (folder / f"memory.{most}").write_text(f"{limit}\n")
    (folder / f"memory.{now}").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{prefix}inactive_file {cached}\n")


def test_in_a_container_its_limit_counts_and_files_that_were_read_make_room(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    write(groups, 512 * MB, used=300 * MB, cached=100 * MB)
    assert host_memory() == (312 * MB, 512 * MB)
    assert host_budget(None) == 384 * MB


def test_of_groups_in_groups_the_tightest_counts(groups: Path) -> None:
    (groups / "own").write_text("0::/system.slice/fluxbot.service\n")
    write(groups / "system.slice" / "fluxbot.service", "max", used=MB)
    write(groups / "system.slice", 256 * MB, used=64 * MB)
    assert host_memory() == (192 * MB, 256 * MB)


def test_the_older_kind_of_groups_counts_as_well_also_by_a_path_of_the_host(groups: Path) -> None:
    (groups / "own").write_text("9:name=systemd:/\n4:cpu,memory:/docker/a7b5\n0::/\n")
    write(groups / "memory", 128 * MB, used=28 * MB, version=1)
    assert host_memory() == (100 * MB, 128 * MB)


@pytest.mark.parametrize("limit", ["max", 9223372036854771712])
def test_without_a_limit_it_is_the_machines(groups: Path, limit: object) -> None:
    (groups / "own").write_text("0::/\n")
    write(groups, limit)
    assert host_memory()[1] == MACHINE


def test_a_group_that_is_full_has_nothing_free(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    write(groups, MB, used=2 * MB)
    assert host_memory() == (0, MB)


def test_where_there_are_no_groups_it_is_the_machines(groups: Path) -> None:
    assert host_memory()[1] == MACHINE
