"""Log lines: readable by people or machines, and without secrets."""

from __future__ import annotations

import ast
import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bot
from bot.errors import UnsupportedQuantization
from bot.i18n import speaking
from bot.inference.types import Region, Request
from bot.logs import about_job, configure_logging, redact

from .catalogues import Catalogues

HF_TOKEN = "hf_" + "aB3" * 12
DISCORD_TOKEN = "MTAwMDAwMDAwMDAwMDAwMDAx.GabcdE.aB3-_" + "x" * 33


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    configure_logging("WARNING", "text")  # which forgets the secrets of a test
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_a_json_line_has_the_traceback_and_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("bot.test").exception("job %d failed", 7)
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"]) == ("ERROR", "bot.test")
    assert record["message"] == "job 7 failed"
    assert "ValueError: broken" in record["traceback"]


@pytest.mark.parametrize("kind", ["webhooks", "interactions"])
def test_tokens_of_interactions_do_not_reach_the_log(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("DEBUG", "text")
    token = "aW50ZXJhY3Rpb246MTIz.NDU2-Nzg5_xyz"
    logging.getLogger("discord").debug("POST %s", f"https://discord.com/api/{kind}/12/{token}/x")
    logged = capsys.readouterr().err
    assert token not in logged
    assert f"/{kind}/12/<token>/x" in logged


def test_errors_of_a_job_in_another_language_are_logged_in_english(
    capsys: pytest.CaptureFixture[str], catalogues: Catalogues
) -> None:
    catalogues.add_quoted("fr")
    configure_logging("INFO", "text")
    error = UnsupportedQuantization("4-bit")
    with speaking("fr"):
        assert str(error).startswith("« ")
        logging.getLogger("bot.test").warning("job %d failed: %s", 7, error)
    assert "job 7 failed: Quantization `4-bit` is not offered" in capsys.readouterr().err


def test_records_below_the_level_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("WARNING", "text")
    logging.getLogger("bot.test").info("quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_is_logged_of_a_job_bears_its_id(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("INFO", style)  # type: ignore[arg-type]
    with about_job(12):
        logging.getLogger("bot.test").info("it runs")
    logging.getLogger("bot.test").info("it rests")
    runs, rests = capsys.readouterr().err.splitlines()
    if style == "json":
        assert json.loads(runs)["job"] == 12
        assert "job" not in json.loads(rests)
    else:
        assert runs.endswith("INFO    [job 12] bot.test: it runs")
        assert rests.endswith("INFO    bot.test: it rests")


async def test_so_does_what_the_tasks_of_a_job_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    async def work() -> None:
        logging.getLogger("bot.test").info("it runs")

    with about_job(12):
        task = asyncio.create_task(work())
    await task
    assert json.loads(capsys.readouterr().err)["job"] == 12


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize("secret", ["what .env says", HF_TOKEN, DISCORD_TOKEN])
def test_a_secret_is_in_no_part_of_a_record(
    style: str, secret: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("DEBUG", style, ["what .env says"])  # type: ignore[arg-type]
    log = logging.getLogger("bot.test")
    log.info("message %s", secret)
    log.info(secret)
    try:
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise KeyError({"token": secret}) from error
    except KeyError:
        log.exception("traceback")
    log.info("stack", stack_info=True)
    logged = capsys.readouterr().err
    assert secret not in logged
    assert all(word in logged for word in ("message", "ValueError", "KeyError", "stack"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bot abc.def", "Authorization: Bot <token>"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': 'Bearer <token>'}"),
        ("{'id': '1', 'token': 'aW50', 'type': 2}", "{'id': '1', 'token': '<token>', 'type': 2}"),
        ('{"token":"aW50"}', '{"token":"<token>"}'),
        (f"the token {HF_TOKEN} is not valid", "the token <token> is not valid"),
        (f"Bot {DISCORD_TOKEN}", "Bot <token>"),
        ("hf_hub_download of black-forest-labs/FLUX.1-dev", None),
        ("discord.ext.commands.bot, bot.inference.executor.LocalExecutor", None),
    ],
)
def test_what_looks_like_a_token_is_taken_out_and_nothing_else(
    text: str, shown: str | None
) -> None:
    assert redact(text) == (shown or text)


CRASHES = {
    "main thread": "raise ValueError(SECRET)",
    "thread": (
        "def crash(): raise ValueError(SECRET)\n"
        "thread = threading.Thread(target=crash)\nthread.start()\nthread.join()"
    ),
    "finaliser": (
        "class Broken:\n    def __del__(self): raise ValueError(SECRET)\n"
        "broken = Broken()\ndel broken"
    ),
    "task": (
        "async def crash(): raise ValueError(SECRET)\n"
        "async def main():\n    task = asyncio.create_task(crash())\n    await asyncio.sleep(0)\n"
        "    del task\n    gc.collect()\nasyncio.run(main())"
    ),
    "warning": "warnings.warn(SECRET)",
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_is_reported_without_secrets(crash: str) -> None:
    program = (
        "import asyncio, gc, threading, warnings\n"
        "from bot.logs import configure_logging, report_crashes\n"
        "SECRET = 'what .' + 'env says'\n"
        "configure_logging('INFO', 'text', [SECRET])\n"
        "report_crashes()\n" + CRASHES[crash]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == (crash == "main thread")
    assert "<secret>" in done.stderr
    assert "what .env says" not in done.stdout + done.stderr


def test_requests_show_no_words_of_members() -> None:
    request = Request(
        tool="fill",
        prompt="my words",
        num_inference_steps=4,
        guidance_scale=None,
        seed=1,
        region=Region(words="my words"),
    )
    assert "my words" not in repr(request)


def test_no_line_above_debug_is_given_what_members_have_written() -> None:
    telling = {"prompt", "request", "words", "typed", "options", "caption", "token"}
    for path in sorted(Path(bot.__file__).parent.rglob("*.py")):
        for call in calls_of_loggers(ast.parse(path.read_text())):
            given = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
            given |= {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
            assert not given & telling, f"{path}, line {call.lineno}"


def calls_of_loggers(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that log above DEBUG."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "_log"
            and node.func.attr != "debug"
        ):
            yield node
