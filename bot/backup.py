"""`python -m bot backup` and `restore`: the database and the files that belong to it, in one ZIP.

A file of the data folder never changes once it has its name, so the database alone needs a
snapshot, which SQLite makes while the bot goes on. What is deleted while the files are copied is
deleted in the snapshot, too: each row that says so has its files.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from bot.database import FILENAME
from bot.disposal import ENDED, KNOWN_PICTURES
from bot.errors import BackupError
from bot.files import FOLDERS
from bot.schema import migrations

BACKUPS = "backups"
"""The folder in the data folder for backups whose operator names no file."""

MEMBER = re.compile(rf"{re.escape(FILENAME)}|({'|'.join(FOLDERS)})/[^/\\]+")
"""What a backup may hold: the database, and files of the folders beside it."""

INPUTS = f"""SELECT DISTINCT 'inputs/' || sha256 FROM inputs LEFT JOIN jobs ON jobs.id = job_id
    WHERE ?1 OR draft_id IS NOT NULL OR NOT {ENDED}"""
"""The images that members have attached; without ?1 those alone that are still needed."""

# where the bot no longer keeps a picture it says so: its row has no bytes
LEAVE_OUT_PICTURES = (
    f"UPDATE images SET bytes = 0 WHERE job_id IN (SELECT id FROM jobs WHERE {ENDED})",
    f"UPDATE jobs SET control_path = NULL WHERE {ENDED}",
)

# what waits cannot be made without its files: it was called off meanwhile
FORGET_MISSING = (
    f"""DELETE FROM jobs WHERE NOT {ENDED} AND id IN (
        SELECT job_id FROM inputs WHERE 'inputs/' || sha256 IN missing
        UNION SELECT job_id FROM images WHERE path IN missing
    )""",
    "DELETE FROM drafts WHERE id IN ("
    " SELECT draft_id FROM inputs WHERE 'inputs/' || sha256 IN missing)",
    "UPDATE images SET bytes = 0 WHERE path IN missing",
    "UPDATE jobs SET control_path = NULL WHERE control_path IN missing",
)

FORGET_TOKENS = f"UPDATE jobs SET token = '' WHERE {ENDED}"
"""Those of what waits are kept: for fifteen minutes they are the way to its message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a backup holds: jobs, those of them that are not over, and files."""

    jobs: int
    unfinished: int
    files: int

    def __str__(self) -> str:
        return f"jobs: {self.jobs}, of which {self.unfinished} are not over; files: {self.files}"


def default_file(folder: Path) -> Path:
    """Return where a backup of a data folder goes that is made now."""
    return folder / BACKUPS / f"flux-bot-{_stamp()}.zip"


def back_up(folder: Path, file: Path, *, pictures: bool = True) -> Contents:
    """Write a data folder into a new file, also while the bot runs; raise BackupError.

    Without `pictures` those of jobs that are over are left out, and what was attached for them.
    """
    if not (folder / FILENAME).is_file():
        raise BackupError(
            f"The folder {folder} holds no data of the bot.", "Set DATA_DIR to the right one."
        )
    if file.exists():
        raise BackupError(
            f"The file {file} is there already.", "Name another file, or move it away."
        )
    with _sentences("made"):
        if file.parent == folder / BACKUPS:
            file.parent.mkdir(mode=0o700, exist_ok=True)
        with _complete(file) as partial, _scratch(file.parent) as scratch:
            copy = scratch / FILENAME
            _copy_database(folder / FILENAME, copy)
            with closing(_open(copy)) as database:
                _check(database, folder)
                if not pictures:
                    _carry_out(database, LEAVE_OUT_PICTURES)
                with ZipFile(partial, "w", strict_timestamps=False) as archive:
                    paths = _files(database, all_inputs=pictures)
                    _note_missing(database, _add_files(archive, folder, paths))
                    _carry_out(database, (*FORGET_MISSING, FORGET_TOKENS))
                    archive.write(copy, FILENAME, ZIP_DEFLATED)
                with ZipFile(partial) as archive:
                    _check_archive(archive, file)
                    return _contents(database, archive)


def restore(folder: Path, file: Path, *, force: bool = False) -> tuple[Contents, Path | None]:
    """Put a backup into a data folder that no bot uses; raise BackupError.

    Return what it holds, and where the data lies that was there before: with `force` it is set
    aside, else it is in the way.
    """
    if not file.is_file():
        raise BackupError(f"There is no file {file}.", "Name one that `python -m bot backup` made.")
    with _sentences("restored"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_used(folder)
        if (folder / FILENAME).exists() and not force:
            raise BackupError(
                f"The folder {folder} holds data already.",
                "Set DATA_DIR to another folder, or add --force, which sets the data there aside.",
            )
        with _scratch(folder) as new:
            with ZipFile(file) as archive:
                _check_archive(archive, file)
                for name in FOLDERS:
                    (new / name).mkdir(mode=0o700)
                archive.extractall(new)
                with closing(_open(new / FILENAME)) as database:
                    _check(database, file)
                    contents = _contents(database, archive)
            aside = _set_aside(folder)
            # the database last: what it names is there then
            for name in (*FOLDERS, FILENAME):
                (new / name).rename(folder / name)
    return contents, aside


def _copy_database(source: Path, copy: Path) -> None:
    # writable: after a crash SQLite has to bring the journal to its end first
    address = f"{source.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True)) as original, closing(_open(copy)) as database:
        original.backup(database)
        # all in the one file
        database.execute("PRAGMA journal_mode = DELETE").fetchall()


def _open(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, isolation_level=None)
    file.chmod(0o600)
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA secure_delete = ON").fetchall()
    return database


def _check(database: sqlite3.Connection, source: Path) -> None:
    """Raise BackupError for a database that is damaged, or that this version does not know."""
    problems = [row[0] for row in database.execute("PRAGMA integrity_check(1)")]
    if problems != ["ok"]:
        raise BackupError(
            f"The database of {source} is damaged: {problems[0]}.", "Restore another backup."
        )
    ((version,),) = database.execute("PRAGMA user_version")
    if version > len(migrations()):
        raise BackupError(
            f"The database of {source} was written by a newer version of the bot.",
            "Update the bot, and try again.",
        )


def _files(database: sqlite3.Connection, *, all_inputs: bool) -> list[str]:
    """Return the files that the rows name, by their paths in the data folder."""
    pictures = database.execute(KNOWN_PICTURES).fetchall()
    inputs = database.execute(INPUTS, (all_inputs,)).fetchall()
    return [path for (path,) in (*pictures, *inputs)]


def _add_files(archive: ZipFile, folder: Path, paths: list[str]) -> list[str]:
    """Add files, which are compressed already, and return those that are not there any more."""
    missing = []
    for path in paths:
        try:
            archive.write(folder / path, path)
        except FileNotFoundError:
            missing.append(path)
    return missing


def _note_missing(database: sqlite3.Connection, paths: list[str]) -> None:
    database.execute("CREATE TEMPORARY TABLE missing (path TEXT)")
    database.executemany("INSERT INTO missing VALUES (?)", [(path,) for path in paths])


def _carry_out(database: sqlite3.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        database.execute(statement)


def _contents(database: sqlite3.Connection, archive: ZipFile) -> Contents:
    ((jobs, unfinished),) = database.execute(f"SELECT count(*), sum(NOT {ENDED}) FROM jobs")
    # all but the database are files of jobs
    files = len(archive.namelist()) - 1
    return Contents(jobs=jobs, unfinished=unfinished or 0, files=files)


def _check_archive(archive: ZipFile, file: Path) -> None:
    """Raise BackupError for what is no backup, or not as it was written."""
    names = archive.namelist()
    if FILENAME not in names or not all(MEMBER.fullmatch(name) for name in names):
        raise BackupError(f"The file {file} is no backup of this bot.", "Name another file.")
    if (damaged := archive.testzip()) is not None:
        raise BackupError(f"The file {file} is damaged, at {damaged}.", "Use another backup.")


def _refuse_if_used(folder: Path) -> None:
    """Raise BackupError while a bot has the database open.

    SQLite lets nobody change the journal of a database that others have open, whatever they do.
    """
    if not (folder / FILENAME).exists():
        return
    with closing(sqlite3.connect(folder / FILENAME, timeout=0)) as database:
        try:
            database.execute("PRAGMA journal_mode = DELETE").fetchall()
        except sqlite3.DatabaseError as error:
            # one that is damaged may well be why a backup is restored
            if "locked" in str(error):
                raise BackupError(
                    f"The bot runs on {folder}.", "Stop it, and restore the backup then."
                ) from None


def _set_aside(folder: Path) -> Path | None:
    """Move what belongs to the database into a folder of its own, if there is anything."""
    old = [*folder.glob(f"{FILENAME}*"), *(folder / name for name in FOLDERS)]
    there = [path for path in old if path.is_file() or (path.is_dir() and any(path.iterdir()))]
    if not there:
        for path in old:
            with suppress(FileNotFoundError):
                path.rmdir()
        return None
    aside = folder / f"before-restore-{_stamp()}"
    aside.mkdir(mode=0o700)
    for path in old:
        if path.exists():
            path.rename(aside / path.name)
    return aside


@contextmanager
def _complete(file: Path) -> Iterator[Path]:
    """Give a file to write, seen by its owner alone, that gets its name once it is whole."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".backup-")
    os.close(descriptor)
    partial = Path(name)
    try:
        yield partial
        with partial.open("r+b") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give a folder for a while, on the disk where what comes of it will be."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".backup-") as name:
        yield Path(name)


@contextmanager
def _sentences(done: str) -> Iterator[None]:
    """Turn the errors of disk, archive and database into BackupErrors."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise BackupError(
            f"The backup cannot be {done}: {error.strerror or error}{where}.",
            "Make room or name another file, and try again.",
        ) from error
    except BadZipFile as error:
        raise BackupError(f"The file is damaged: {error}.", "Use another backup.") from error
    except sqlite3.Error as error:
        raise BackupError(
            f"The backup cannot be {done}: {error}.", "`python -m bot doctor` looks into it."
        ) from error


def _stamp() -> str:
    return f"{datetime.now():%Y-%m-%d-%H%M%S}"
