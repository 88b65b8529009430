"""The database is looked at as it is: whole, damaged, of another version, in use, or not there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.checks import database
from bot.checks.database import check_database, kept_settings
from bot.database import FILENAME
from bot.storage import Storage

GUILD = 200000000000000001


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A data folder as the bot leaves one."""
    async with Storage.open(tmp_path) as storage:
        await storage.settings.change(GUILD, 0, {"max_count": 2}, user_id=1)
    return tmp_path


def change(folder: Path, sql: str) -> None:
    """Carry out a statement in a folder's database."""
    with closing(sqlite3.connect(folder / FILENAME)) as connection:
        connection.execute(sql)
        connection.commit()


def test_where_there_is_none_none_is_made(tmp_path: Path) -> None:
    finding = check_database(tmp_path / "data")
    assert finding.state == "ok"
    assert "is made at the first start" in finding.found
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_the_folder_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    finding = check_database(tmp_path / "file" / "data")
    assert (finding.state, "set it to another folder" in finding.mend) == ("fault", True)


def test_a_whole_database_is_ok(folder: Path) -> None:
    finding = check_database(folder)
    assert finding.state == "ok"
    assert "is whole, its schema is" in finding.found


def test_a_damaged_one_is_a_fault(folder: Path) -> None:
    content = bytearray((folder / FILENAME).read_bytes())
    content[4096:12288] = b"\xff" * 8192
    (folder / FILENAME).write_bytes(content)
    finding = check_database(folder)
    assert finding.state == "fault"
    assert "put a good copy of the file in its place" in finding.mend


def test_what_is_no_database_is_a_fault(folder: Path) -> None:
    (folder / FILENAME).write_text("something else entirely" * 100)
    assert "cannot be read" in check_database(folder).found


def test_one_of_a_newer_version_is_a_fault(folder: Path) -> None:
    change(folder, "PRAGMA user_version = 999")
    finding = check_database(folder)
    assert finding.state == "fault"
    assert finding.mend.startswith("update the bot")


def test_one_of_an_older_version_is_left_as_it_is(folder: Path) -> None:
    change(folder, "PRAGMA user_version = 1")
    for _ in range(2):
        finding = check_database(folder)
        assert finding.state == "warning"
        assert "its schema is 1 of" in finding.found


def test_one_that_is_being_written_is_not_called_faulty(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(folder / FILENAME, isolation_level=None)) as bot:
        bot.execute("BEGIN IMMEDIATE")
        assert check_database(folder).state == "unchecked"
        bot.execute("ROLLBACK")
    assert check_database(folder).state == "ok"


async def test_settings_are_read_from_it_while_the_bot_has_it_open(folder: Path) -> None:
    async with Storage.open(folder), kept_settings(folder) as kept:
        assert kept is not None
        assert (await kept.at(GUILD)).max_count == 2


async def test_without_a_database_there_are_no_settings(tmp_path: Path) -> None:
    async with kept_settings(tmp_path / "data") as kept:
        assert kept is None
