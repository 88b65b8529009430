"""Backups: made while the bot goes on, whole, private, and good to go on from."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from bot.backup import BACKUPS, Contents, back_up, default_file, restore
from bot.config import Settings
from bot.database import FILENAME
from bot.errors import BackupError, JobError
from bot.inference.executor import LocalExecutor
from bot.storage import Storage
from tests.conftest import open_scene, restarted
from tests.doubles import HeldExecutor, result_for
from tests.records import ORIGIN, REQUEST, has_begun, made, queued

PHOTO = replace(REQUEST, tool="kontext", images={"image": b"a photo"})
OLD_PHOTO = replace(PHOTO, images={"image": b"an older photo"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def storage(folder: Path) -> AsyncIterator[Storage]:
    async with Storage.open(folder) as storage:
        yield storage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "backup.zip"


def members(file: Path) -> list[str]:
    """Return the folders of what a backup holds, and the database."""
    with ZipFile(file) as archive:
        return sorted(name.partition("/")[0] for name in archive.namelist())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def spoil(file: Path, part: bytes) -> None:
    """Change a bit of a file where it holds something."""
    content = bytearray(file.read_bytes())
    content[content.index(part)] ^= 1
    file.write_bytes(content)


def shorten(file: Path) -> None:
    """Cut the end of a file off, as of one that was copied in part."""
    file.write_bytes(file.read_bytes()[:-30])


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_what_waits_is_made_and_what_was_made_is_there_after_a_restore(
    settings: Settings, executor: LocalExecutor, file: Path, tmp_path: Path
) -> None:
    async with open_scene(settings, HeldExecutor()) as scene:
        over = await made(scene.app.storage, request=PHOTO)
        waiting = await scene.begin()
        contents = back_up(settings.data_dir, file)
        assert contents == Contents(jobs=2, unfinished=1, files=2)
        elsewhere = replace(settings, data_dir=tmp_path / "elsewhere")
        assert restore(elsewhere.data_dir, file) == (contents, None)
        async with restarted(scene, elsewhere, executor) as scene:
            await has_begun(scene.app.jobs)
            await scene.app.jobs.idle()
            await scene.env.settle()
            (message,) = [each for each in scene.channel.history() if each.id == waiting.id]
            assert [each.filename.endswith(".png") for each in message.attachments] == [True]
            kept = scene.app.storage
            assert await kept.result(await kept.job(over.id)) == result_for(PHOTO)
            assert await kept.inputs(over.id) == PHOTO.images


async def test_it_is_seen_by_its_owner_alone_and_nothing_else_is_left(
    storage: Storage, folder: Path, tmp_path: Path
) -> None:
    await made(storage)
    file = default_file(folder)
    back_up(folder, file)
    assert (mode(file), mode(file.parent)) == (0o600, 0o700)
    assert left(folder / BACKUPS) == [file.name]
    new = tmp_path / "new"
    restore(new, file)
    assert left(new) == [FILENAME, "images", "inputs"]
    assert [mode(each) for each in (new / FILENAME, new / "images", new)] == [0o600, 0o700, 0o700]


async def test_it_holds_no_token_but_those_that_answer_what_waits(
    storage: Storage, folder: Path, file: Path
) -> None:
    await made(storage, token="of-what-is-over")
    await queued(storage, token="of-what-waits")
    back_up(folder, file)
    with ZipFile(file) as archive:
        database = archive.read(FILENAME)
    assert b"of-what-is-over" not in database
    assert b"of-what-waits" in database


async def test_without_pictures_it_has_what_the_waiting_ones_need(
    storage: Storage, folder: Path, file: Path, tmp_path: Path
) -> None:
    over = await made(storage, request=OLD_PHOTO)
    waiting = await queued(storage, request=PHOTO)
    draft = await storage.drafts.add(replace(PHOTO, images={"image": b"a draft's"}), ORIGIN)
    back_up(folder, file, pictures=False)
    assert members(file) == [FILENAME, "inputs", "inputs"]
    restore(tmp_path / "new", file)
    async with Storage.open(tmp_path / "new") as kept:
        assert not await kept.history.has_pictures(over.id)
        assert (await kept.job(over.id)).request == (await storage.job(over.id)).request
        assert await kept.inputs(waiting.id) == PHOTO.images
        assert await kept.drafts.images(draft.id) == {"image": b"a draft's"}
    assert await storage.history.has_pictures(over.id)


async def test_what_is_deleted_while_files_are_copied_is_deleted_in_it_too(
    storage: Storage, folder: Path, file: Path, tmp_path: Path
) -> None:
    over = await made(storage)
    waiting = await queued(storage, request=PHOTO)
    draft = await storage.drafts.add(OLD_PHOTO, ORIGIN)
    other = await queued(storage)
    for name in ("images", "inputs"):
        for each in (folder / name).iterdir():
            each.unlink()
    assert back_up(folder, file) == Contents(jobs=2, unfinished=1, files=0)
    restore(tmp_path / "new", file)
    async with Storage.open(tmp_path / "new") as kept:
        assert not await kept.history.has_pictures(over.id)
        assert [job.id for job in await kept.unfinished_jobs()] == [other.id]
        for gone in (kept.job(waiting.id), kept.drafts.get(draft.id)):
            with pytest.raises(JobError):
                await gone


async def test_a_bot_that_runs_keeps_its_data(storage: Storage, folder: Path, file: Path) -> None:
    back_up(folder, file)
    job = await made(storage)
    with pytest.raises(BackupError, match="The bot runs on"):
        restore(folder, file, force=True)
    assert await storage.result(job) == result_for(REQUEST)


async def test_data_that_is_there_is_set_aside_only_if_that_is_asked_for(
    folder: Path, file: Path
) -> None:
    async with Storage.open(folder) as storage:
        await made(storage)
        back_up(folder, file)
        later = await made(storage)
    with pytest.raises(BackupError, match="holds data already"):
        restore(folder, file)
    contents, aside = restore(folder, file, force=True)
    assert contents.jobs == 1
    async with Storage.open(folder) as storage:
        with pytest.raises(JobError):
            await storage.job(later.id)
    assert aside is not None
    assert aside.parent == folder
    async with Storage.open(aside) as storage:
        assert await storage.result(later) == result_for(REQUEST)


async def test_a_database_that_is_damaged_can_be_replaced_but_not_backed_up(
    folder: Path, file: Path
) -> None:
    async with Storage.open(folder) as storage:
        job = await made(storage)
        back_up(folder, file)
    spoil(folder / FILENAME, b"SQLite format 3")
    with pytest.raises(BackupError, match="file is not a database"):
        back_up(folder, file.with_name("second.zip"))
    restore(folder, file, force=True)
    async with Storage.open(folder) as storage:
        assert await storage.result(job) == result_for(REQUEST)


async def test_a_backup_that_is_damaged_changes_nothing(
    storage: Storage, folder: Path, file: Path, tmp_path: Path
) -> None:
    await made(storage)
    back_up(folder, file)
    spoil(file, result_for(REQUEST).images[0])
    with pytest.raises(BackupError, match=r"is damaged, at images/.*\. Use another backup\."):
        restore(tmp_path / "new", file)
    shorten(file)
    with pytest.raises(BackupError, match=r"^The file is damaged: "):
        restore(tmp_path / "new", file)
    assert left(tmp_path / "new") == []


@pytest.mark.parametrize("name", ["photo.png", "../outside", "images/../../outside"])
def test_what_is_no_backup_is_refused(file: Path, folder: Path, tmp_path: Path, name: str) -> None:
    with ZipFile(file, "w") as archive:
        archive.writestr(FILENAME, b"")
        archive.writestr(name, b"")
    with pytest.raises(BackupError, match="no backup of this bot"):
        restore(folder, file)
    assert left(folder) == []
    assert not (tmp_path / "outside").exists()


async def test_a_newer_version_is_said_to_have_written_it(
    storage: Storage, folder: Path, file: Path, tmp_path: Path
) -> None:
    back_up(folder, file)
    later = tmp_path / "later.zip"
    with ZipFile(file) as archive:
        archive.extract(FILENAME, tmp_path)
    with closing(sqlite3.connect(tmp_path / FILENAME)) as database:
        database.execute("PRAGMA user_version = 1000")
    with ZipFile(later, "w") as archive:
        archive.write(tmp_path / FILENAME, FILENAME)
    with pytest.raises(BackupError, match=r"later\.zip was written by a newer version"):
        restore(tmp_path / "new", later)
    assert left(tmp_path / "new") == []


def test_a_file_that_is_there_is_not_overwritten(
    storage: Storage, folder: Path, file: Path
) -> None:
    file.write_text("mine")
    with pytest.raises(BackupError, match="is there already"):
        back_up(folder, file)
    assert file.read_text() == "mine"


async def test_a_place_that_cannot_be_written_is_one_sentence(
    storage: Storage, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BackupError, match=r"cannot be made: No such file or directory \("):
        back_up(folder, tmp_path / "nowhere" / "backup.zip")


def test_the_command_line_makes_one_and_puts_it_back(tmp_path: Path) -> None:
    async def fill(folder: Path) -> None:
        async with Storage.open(folder) as storage:
            await made(storage)

    def run(*arguments: str, data: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bot", *arguments],
            cwd=tmp_path,
            env=os.environ | {"DATA_DIR": data},
            capture_output=True,
            text=True,
            timeout=120,
        )

    nothing = run("backup", data="data")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert (
        nothing.stderr
        == "The folder data holds no data of the bot. Set DATA_DIR to the right one.\n"
    )
    asyncio.run(fill(tmp_path / "data"))
    done = run("backup", data="data")
    assert (done.returncode, done.stderr) == (0, "")
    name, _, said = done.stdout.partition(": ")
    assert said == "jobs: 1, of which 0 are not over; files: 1\n"
    restored = run("restore", name, data="elsewhere")
    assert restored.stdout == f"elsewhere: {said}"
    assert (tmp_path / "elsewhere" / FILENAME).exists()
