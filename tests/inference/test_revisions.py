"""Which commit of a repository is read: the first that was, though the hub moves on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.errors import ModelUnavailable
from bot.inference.repositories import Repositories
from bot.inference.revisions import FILE, noted, pinned
from bot.inference.tools import FAMILIES
from tests.hub import COMMIT, Hub, serve_hub

LATER = "f" * 40
SCHNELL, DEV = "black-forest-labs/FLUX.1-schnell", "black-forest-labs/FLUX.1-dev"
TINY = FAMILIES["tiny"].folder
assert TINY is not None

READ = f"""
import sys
from pathlib import Path
from bot.inference.repositories import Repositories
from bot.inference.tools import FAMILIES

repositories = Repositories(family=FAMILIES["flux"], token=None, notes=Path(sys.argv[1]))
print(repositories.folder("{SCHNELL}", "scheduler", weights=False).parent.name)
"""


def newest(commit: str) -> Callable[[], str]:
    return lambda: commit


def never() -> str:
    raise AssertionError("the hub is asked")


async def commit_read(hub: Hub, home: Path, *, offline: bool = False) -> str:
    """Return the commit that a process reads, with the notes and the cache of a folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", READ, str(home / "weights")),
        env=os.environ
        | {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "HF_HUB_DISABLE_XET": "1",
        },
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode().strip()


async def test_what_was_read_first_is_read_though_the_hub_has_something_else(
    tmp_path: Path,
) -> None:
    async with serve_hub(Path(TINY)) as hub:
        assert await commit_read(hub, tmp_path) == COMMIT
        hub.newest = LATER
        assert await commit_read(hub, tmp_path) == COMMIT
        assert await commit_read(hub, tmp_path, offline=True) == COMMIT
        (tmp_path / "weights" / FILE).write_text("{}")
        (tmp_path / "hf").rename(tmp_path / "the cache of before")
        assert await commit_read(hub, tmp_path) == LATER


def test_the_operator_names_another_commit_in_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({SCHNELL: LATER}))
    assert pinned(tmp_path, SCHNELL, never) == LATER
    assert pinned(tmp_path, DEV, newest(COMMIT)) == COMMIT
    assert json.loads((tmp_path / FILE).read_text()) == {SCHNELL: LATER, DEV: COMMIT}


def test_what_the_cache_has_already_goes_on_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = tmp_path / "hub" / "models--black-forest-labs--FLUX.1-schnell" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert pinned(tmp_path, SCHNELL, never) == COMMIT


@pytest.mark.parametrize("content", ["{", "[]", '{"me/mine": 7}', '{"me/mine": "main"}'])
def test_a_broken_file_is_a_sentence_and_not_whatever_is_newest(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(ModelUnavailable, match=FILE):
        pinned(tmp_path, SCHNELL, newest(LATER))


def test_a_folder_that_cannot_be_written_keeps_nobody_from_reading(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert pinned(tmp_path / "file", SCHNELL, newest(COMMIT)) == COMMIT


def test_a_folder_of_ones_own_has_no_commit(tmp_path: Path) -> None:
    notes = tmp_path / "weights"
    hub, tiny = (
        Repositories(family=FAMILIES[name], token=None, notes=notes) for name in ("flux", "tiny")
    )
    assert hub.revision(str(tmp_path)) is None
    assert tiny.revision(SCHNELL) is None
    assert noted(notes, SCHNELL) is None
