"""Disk, database and clock of the machine fail while the bot runs."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import pytest_asyncio

from .bot_process import BotProcess
from .conftest import Operator
from .disks import locked, no_room, read_only, small_disk
from .fake_discord import FakeDiscord
from .messages import GUILD_ID, MEMBER_ID, Message, Version
from .pictures import PROMPT, arrives_once, comes_once, pictures_of
from .test_fill import button, fill, reply
from .test_run import has_picture, shows_work

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="Linux has these limits and capabilities"),
]

DAY = 86400
JUMP = 400 * DAY
LIMIT = 600
"""Seconds of the GPU that a member has a day, in the tests of the clock."""

SETTINGS = {"AS_ANYBODY": "1", "HASTE": "bot.database.BUSY_SECONDS=2"}
# without a disk of its own, the bot's files are kept from growing, which is another error
NO_ROOM = r"The operator has to make room there|The data folder \S+ cannot be used"
NOT_KEPT = "This is not kept in the history."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def operator(
    world: FakeDiscord, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Operator]:
    """Give the bot a folder whose disk is small, where that can be had."""
    folder = tmp_path_factory.mktemp("bot")
    with small_disk(folder / "data"):
        operator = Operator(world, folder)
        await operator.running(**SETTINGS)
        yield operator
        await operator.close()


class Clock:
    """The time of day as the bot has it: right, or wrong by some seconds."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.be_wrong_by(0)

    def be_wrong_by(self, seconds: float) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.file)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock") / "seconds")


@pytest_asyncio.fixture(loop_scope="module")
async def clocked(discord: FakeDiscord, operator: Operator, clock: Clock) -> BotProcess:
    """Return a bot on that clock, which soon deletes what is too old."""
    haste = "bot.retention.FIRST=12 bot.cogs._mask_preview.SWEEP_SECONDS=0.5"
    return await operator.running(FAKE_CLOCK=str(clock.file), HASTE=haste)


async def working(discord: FakeDiscord) -> Message:
    """Ask for a picture that takes a while, and return when it is being made."""
    message = await discord.slash("generate", prompt=PROMPT, model="dev", steps=50)
    await message.until(shows_work)
    return message


async def comes_unkept(discord: FakeDiscord, operator: Operator, message: Message) -> Version:
    """Wait for a picture that cannot be kept, and see that it came once."""
    final = await message.until(has_picture)
    assert NOT_KEPT in final.text
    assert len(pictures_of(discord, operator.job_id(message))) == 1
    return final


def change(operator: Operator, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(operator.database, isolation_level=None)) as database:
        database.execute(sql, values)


@pytest.mark.scenario(
    "process",
    "The disk is full when a command is given",
    outcome="A sentence says so, and nothing is queued. When there is room again, commands are"
    " taken as before.",
)
async def test_a_command_on_a_full_disk_is_one_sentence(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    await comes_once(discord, operator)
    before = operator.rows("SELECT count(*) FROM jobs")
    with no_room(bot, operator.database.parent):
        message = await discord.slash("generate", prompt=PROMPT)
        await message.until(lambda version: version.text)
    assert re.search(NO_ROOM, message.now.text)
    assert operator.rows("SELECT count(*) FROM jobs") == before
    await comes_once(discord, operator)


@pytest.mark.scenario(
    "process",
    "The disk becomes full while a job waits",
    outcome="A sentence says so. The job is over: it is not made behind its member's back later.",
)
async def test_a_job_that_waits_for_a_full_disk_is_one_sentence(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    with ExitStack() as disk:
        with bot.paused():
            message = await discord.slash("generate", prompt=PROMPT)
            await message.reads("Starting")
            disk.enter_context(no_room(bot, operator.database.parent))
        final = await message.until(lambda version: re.search(NO_ROOM, version.text))
    assert final.custom_ids == []
    await comes_once(discord, operator)
    assert await operator.job_is(message, "failed")
    assert pictures_of(discord, operator.job_id(message)) == []


@pytest.mark.scenario(
    "process",
    "The disk becomes full while a picture is made",
    outcome="The picture arrives with a note that it is not kept in the history, and is not made"
    " again later. A model that cannot be stored at 8 bits is used as it is in memory.",
)
async def test_a_picture_arrives_though_the_disk_is_full(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    message = await working(discord)
    with no_room(bot, operator.database.parent):
        final = await comes_unkept(discord, operator, message)
    assert "instead of 8-bit" not in final.text
    await comes_once(discord, operator)
    assert await operator.job_is(message, "failed")


@pytest.mark.scenario(
    "process",
    "The folder for pictures becomes read-only while a picture is made",
    outcome="The picture arrives with a note that it is not kept in the history. Its buttons say"
    " the same.",
)
async def test_a_picture_arrives_though_it_cannot_be_written(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    message = await discord.slash("generate", prompt=PROMPT)
    with read_only(operator.database.parent / "images"):
        final = await comes_unkept(discord, operator, message)
        assert await operator.job_is(message, "failed")
    click = await discord.click(message, final.custom_ids[0])
    answer = click.original if click.original is not message else await reply(click)
    assert answer is not None
    assert NOT_KEPT in answer.now.text


@pytest.mark.scenario(
    "process",
    "Another program holds the database for a moment, as a backup does",
    outcome="All waits for it, and each picture arrives.",
)
async def test_a_lock_that_is_let_go_is_waited_for(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    with locked(operator.database):
        messages = [await discord.slash("generate", prompt=PROMPT, seed=n) for n in (1, 2)]
        await asyncio.sleep(0.5)
    for message in messages:
        assert message.acknowledged_after < 3
        await arrives_once(discord, operator, message)


@pytest.mark.scenario(
    "process",
    "Another program holds the database for longer than five seconds",
    outcome="Who gives a command then reads in a sentence to try again in a minute. A picture that"
    " is made arrives with a note that it is not kept in the history.",
)
async def test_a_lock_that_is_held_is_one_sentence(
    bot: BotProcess, discord: FakeDiscord, operator: Operator
) -> None:
    made = await working(discord)
    with locked(operator.database):
        refused = await discord.slash("generate", prompt=PROMPT)
        await refused.reads("Another program holds the bot's database. Please try again")
        await comes_unkept(discord, operator, made)
    await comes_once(discord, operator)
    assert await operator.job_is(made, "failed")
    assert operator.rows("SELECT id FROM jobs WHERE message_id = ?", int(refused.id)) == []


@pytest.mark.scenario(
    "process",
    "The data folder is read-only when the bot starts",
    outcome="The bot ends with one sentence for its operator.",
)
async def test_a_data_folder_that_is_read_only_ends_the_start_in_a_sentence(
    operator: Operator, tmp_path: Path
) -> None:
    with read_only(tmp_path):
        bot = await operator.start(DATA_DIR=str(tmp_path), LOG_LEVEL="ERROR", AS_ANYBODY="1")
        assert await bot.exit_code(30) == 1
    assert bot.log.startswith(f"The data folder {tmp_path} cannot be used: Permission denied.")
    assert bot.log.count("\n") == 1


@pytest.mark.scenario(
    "process",
    "The clock is set forward by a year while pictures are made and previews are open",
    outcome="All goes on: each picture arrives, no preview expires, nothing is deleted as too old"
    " and nobody's time on the GPU is used up.",
)
async def test_a_clock_that_is_set_forward_changes_nothing(
    clocked: BotProcess, discord: FakeDiscord, operator: Operator, clock: Clock
) -> None:
    limits = {"seconds_per_member": LIMIT, "keep_days": 1}
    for key, value in limits.items():
        row = (int(GUILD_ID), key, json.dumps(value))
        change(operator, "INSERT INTO settings VALUES (?, 0, ?, ?)", *row)
    kept = operator.rows("SELECT id FROM jobs")
    preview = await fill(discord)
    message = await working(discord)
    clock.be_wrong_by(JUMP)
    await arrives_once(discord, operator, message)
    await comes_once(discord, operator, private=True)
    click = await discord.click(preview, button(preview, "paint"))
    await arrives_once(discord, operator, await reply(click))
    async with asyncio.timeout(30):
        while "the clock has jumped" not in clocked.log:
            await asyncio.sleep(0.1)
    assert set(kept) <= set(operator.rows("SELECT id FROM jobs"))
    ((longest,),) = operator.rows("SELECT max(seconds) FROM usage")
    assert longest < LIMIT


@pytest.mark.scenario(
    "process",
    "The clock is set back by a year, to what is right",
    outcome="All goes on: what was noted in the future counts against nobody.",
)
async def test_a_clock_that_is_set_back_changes_nothing(
    clocked: BotProcess, discord: FakeDiscord, operator: Operator, clock: Clock
) -> None:
    clock.be_wrong_by(JUMP)
    row = (int(MEMBER_ID), int(GUILD_ID), time.time() + JUMP, 2 * LIMIT)
    columns = "user_id, guild_id, ended_at, seconds"
    change(operator, f"INSERT INTO usage ({columns}) VALUES (?, ?, ?, ?)", *row)
    refused = await discord.slash("generate", prompt=PROMPT)
    assert "You have used up the time on the GPU" in refused.now.text
    clock.be_wrong_by(0)
    await comes_once(discord, operator)
    await comes_once(discord, operator, private=True)
