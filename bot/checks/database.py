"""The database of a data folder, looked at without making or changing anything."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiosqlite

from bot.checks.finding import Finding, fault, ok, unchecked, warning
from bot.database import FILENAME, Database
from bot.schema import migrations
from bot.settings_store import SettingsStore

BUSY_SECONDS = 2.0
"""How long to wait for the bot, if it runs and writes just now."""

RESTORE = "stop the bot, keep a copy of DATA_DIR, and put a good copy of the file in its place"


def check_database(folder: Path) -> Finding:
    """Look whether the database is whole, of a version that the bot knows, and can be written."""
    file = folder / FILENAME
    if not file.exists():
        return _check_room(folder)
    try:
        with closing(_connect(file)) as database:
            return _check_file(database, file)
    except sqlite3.DatabaseError as error:
        if "locked" in str(error) or "busy" in str(error):
            return unchecked("database", f"{file} is being written by another process")
        if "readonly" in str(error) or "unable to open" in str(error):
            return _not_writable(file)
        return fault("database", f"{file} cannot be read: {error}", RESTORE)


@asynccontextmanager
async def kept_settings(folder: Path) -> AsyncIterator[SettingsStore | None]:
    """Give the settings of the servers to read, None where there is no database."""
    file = folder / FILENAME
    if not file.exists():
        yield None
        return
    async with aiosqlite.connect(_address(file, "ro"), uri=True) as connection:
        connection.row_factory = sqlite3.Row
        yield SettingsStore(Database(folder, connection))


def _check_room(folder: Path) -> Finding:
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK) or not there.is_dir():
        return _not_writable(there)
    return ok("database", f"there is none yet; {folder / FILENAME} is made at the first start")


def _check_file(database: sqlite3.Connection, file: Path) -> Finding:
    problems = [row[0] for row in database.execute("PRAGMA integrity_check(1)")]
    if problems != ["ok"]:
        return fault("database", f"{file} is damaged: {problems[0]}", RESTORE)
    ((version,),) = database.execute("PRAGMA user_version")
    newest = len(migrations())
    if version > newest:
        return fault(
            "database",
            f"{file} has schema {version}, and this version of the bot knows {newest}",
            "update the bot, or set DATA_DIR to another folder",
        )
    database.execute("BEGIN IMMEDIATE")
    database.execute("ROLLBACK")
    if not os.access(file.parent, os.W_OK):
        return _not_writable(file.parent)
    if version < newest:
        return warning(
            "database",
            f"{file} is whole, its schema is {version} of {newest}",
            "keep a copy of DATA_DIR: the next start brings it up to date",
        )
    return ok("database", f"{file} is whole, its schema is {version} of {newest}")


def _not_writable(path: Path) -> Finding:
    return fault(
        "database",
        f"{path} cannot be written",
        "let the user that runs the bot own DATA_DIR, or set it to another folder",
    )


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        _address(file, "rw"), uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )


def _address(file: Path, mode: str) -> str:
    return f"{file.absolute().as_uri()}?mode={mode}"
