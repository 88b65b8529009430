"""One command without a browser: what it prints, what it saves, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bot.config import Settings
from bot.errors import BotError, OutOfMemory
from bot.inference.executor import LocalExecutor
from bot.inference.types import Progress
from bot.playground.once import converse, run_once
from bot.playground.simulation import simulation
from tests.cogs.messages import mask, photo
from tests.conftest import picture
from tests.doubles import HeldExecutor

PROMPT = "a large red circle on a blue background"


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bot", "playground", "--once", *arguments],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "DEVICE": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    with start(*arguments, cwd=cwd) as process:
        stdout, stderr = process.communicate(timeout=240)
    return process.returncode, stdout, stderr


def test_a_picture_is_made_shown_and_saved(tmp_path: Path) -> None:
    code, stdout, stderr = run(
        f"/generate prompt:{PROMPT} seed:7 model:schnell", "--save", "made/here", cwd=tmp_path
    )
    assert (code, stderr) == (0, "")
    assert f"> {PROMPT}" in stdout
    assert "Starting" in stdout
    assert "[Cancel]" in stdout
    assert "Seed: 7" in stdout
    last_state = stdout[stdout.rindex("FLUX.1\n") :]
    assert "[Cancel]" not in last_state
    (saved,) = (tmp_path / "made" / "here").iterdir()
    assert f"attachment: {saved.name}" in last_state
    assert f"saved made/here/{saved.name}" in last_state
    assert picture(saved.read_bytes()).width >= 64


def test_a_refusal_is_one_sentence_and_a_failure(tmp_path: Path) -> None:
    code, stdout, stderr = run("/generate prompt:x model:sdxl", cwd=tmp_path)
    assert (code, stdout) == (1, "")
    assert stderr.startswith("`model` takes one of `schnell`, ")
    assert len(stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, stdout, stderr = run("/generate prompt:x", "--save", "file/made", cwd=tmp_path)
    assert (code, stdout) == (1, "")
    assert stderr == "The pictures cannot be saved: file/made: Not a directory.\n"


def test_a_signal_ends_it_at_once(tmp_path: Path) -> None:
    with start(f"/generate prompt:{PROMPT} model:dev steps:50 count:4", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "FLUX.1\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")


async def test_each_state_is_printed_once(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = HeldExecutor()
    executor.events.put_nowait(Progress(stage="denoise", step=1, total=4, seconds=1.0))
    async with simulation(settings, executor) as room, asyncio.TaskGroup() as group:
        group.create_task(converse(room, f"/generate prompt:{PROMPT}", None))
        group.create_task(executor.let_finish(0))
    states = capsys.readouterr().out.split("FLUX.1\n")[1:]
    assert len(states) == len(set(states)) >= 2
    assert "attachment:" in states[-1]


async def test_several_pictures_are_told_and_saved(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    executor = HeldExecutor()
    command = f"/generate prompt:{PROMPT} seed:7 count:2"
    async with simulation(settings, executor) as room, asyncio.TaskGroup() as group:
        group.create_task(converse(room, command, tmp_path))
        group.create_task(executor.let_finish(0))
    last_state = capsys.readouterr().out.split("FLUX.1\n")[-1]
    assert f"> {PROMPT}\n" in last_state
    assert last_state.count(f"  picture: {PROMPT}\n") == 2
    assert "**Seeds** 7, 8" in last_state
    assert "-# Job 1\n" in last_state
    assert {"schnell-1-1.png", "schnell-1-2.png"} <= names(tmp_path)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("/genrate prompt:x", "There is no command `/genrate`: the bot offers `"),
        ("/generate seed:7", "`/generate` needs `prompt` as well."),
        ("/generate prompt:x steps:99", "`steps` takes a whole number from 1 to 50, not `99`."),
        ("/generate prompt:x model:schnell steps:13", "`steps` is 13, but it goes from 1 to 12"),
    ],
)
async def test_what_the_bot_would_refuse_is_refused(
    command: str, sentence: str, settings: Settings
) -> None:
    executor = HeldExecutor()
    async with simulation(settings, executor) as room:
        with pytest.raises(BotError) as raised:
            await converse(room, command, None)
    assert str(raised.value).startswith(sentence)
    assert executor.started == []


def attach(folder: Path) -> None:
    """Lay files into a folder that commands can name."""
    for name, content in (photo(), mask(), ("notes.png", b"no picture at all")):
        (folder / name).write_bytes(content)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("command", "made"),
    [
        ("/kontext image:photo.png prompt:make the circle green", {"kontext-1-1.png"}),
        ("/redux image:photo.png image2:mask.png", {"redux-1-1.png"}),
        ("/depth image:photo.png prompt:a star", {"depth-1-1.png", "depth-1-control.webp"}),
        ("/canny image:photo.png prompt:a star", {"canny-1-1.png", "canny-1-control.webp"}),
        ("/fill image:photo.png mask:mask.png prompt:a star preview:off", {"fill-1-1.png"}),
        ("/fill image:photo.png right:50 prompt:blue", {"fill-1-1.png", "mask-preview-1.jpg"}),
    ],
)
async def test_each_tool_takes_real_files(
    settings: Settings,
    executor: LocalExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    made: set[str],
) -> None:
    attach(tmp_path)
    monkeypatch.chdir(tmp_path)
    async with simulation(settings, executor) as room:
        await converse(room, f"{command} steps:2", Path())
    assert names(tmp_path) - {"photo.png", "mask.png", "notes.png", "data"} == made
    for name in made:
        assert picture((tmp_path / name).read_bytes()).width >= 64


@pytest.mark.parametrize("private", ["", " private:true"])
async def test_the_preview_of_a_mask_is_shown_and_agreed_to(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], private: str
) -> None:
    attach(tmp_path)
    executor = HeldExecutor()
    command = f"/fill image:{tmp_path}/photo.png mask:{tmp_path}/mask.png prompt:a star{private}"
    async with simulation(settings, executor) as room, asyncio.TaskGroup() as group:
        group.create_task(converse(room, command, tmp_path / "made"))
        (tmp_path / "made").mkdir()
        group.create_task(executor.let_finish(0))
    shown, agreed, painted = capsys.readouterr().out.partition("[Paint it] is pressed for you")
    assert agreed
    assert "[Paint it] [Undo, disabled] [Cancel]" in shown
    assert "attachment: mask-preview-1.jpg" in shown
    assert painted.count("Seed: ") == 1
    assert names(tmp_path / "made") == {"mask-preview-1.jpg", "fill-1-1.png"}
    assert executor.started[0].images == {"image": photo()[1], "mask": mask()[1]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("image:nowhere.png area:centre", "`image`: the file nowhere.png cannot be read (No such"),
        ("image:notes.png area:centre", "`image` cannot be read as a picture."),
        ("image:notes.txt area:centre", "`image` is no image, but text/plain."),
        ("image:photo.png", "There is nothing to repaint yet."),
        ("image:photo.png area:12", "`area` is neither a name nor four numbers."),
        ("image:photo.png area:hat", "`hat` could not be found in the picture."),
    ],
)
async def test_a_file_or_mask_that_is_of_no_use_is_one_sentence(
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    sentence: str,
) -> None:
    attach(tmp_path)
    (tmp_path / "notes.txt").write_text("notes")
    monkeypatch.chdir(tmp_path)
    executor = HeldExecutor()
    async with simulation(settings, executor) as room:
        with pytest.raises(BotError) as raised:
            await converse(room, f"/fill {options} prompt:a star", None)
    assert str(raised.value).startswith(sentence)
    assert executor.started == []


async def test_without_its_packages_it_says_how_to_install_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "simcord", None)
    assert await run_once(settings, "/generate prompt:x", None) == 1
    assert capsys.readouterr().err == (
        "The playground needs packages of its own: run pip install -e '.[playground]' first.\n"
    )


async def test_a_job_that_fails_raises_its_sentence(settings: Settings) -> None:
    executor = HeldExecutor()
    failure = OutOfMemory("for this picture", "Wait.")
    executor.events.put_nowait(failure)
    async with simulation(settings, executor) as room:
        with pytest.raises(BotError) as raised:
            await converse(room, f"/generate prompt:{PROMPT}", None)
    assert str(raised.value) == str(failure)


async def test_a_defect_is_the_neutral_sentence(settings: Settings) -> None:
    executor = HeldExecutor()
    executor.events.put_nowait(ZeroDivisionError("secret"))
    async with simulation(settings, executor) as room:
        with pytest.raises(BotError, match="Something went wrong") as raised:
            await converse(room, f"/generate prompt:{PROMPT}", None)
    assert "secret" not in str(raised.value)
