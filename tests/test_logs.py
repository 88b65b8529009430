"""Log lines: readable by people or machines, and without secrets."""

from __future__ import annotations

import json
import logging

import pytest

from bot.errors import UnsupportedQuantization
from bot.i18n import speaking
from bot.logs import configure_logging

from .catalogues import Catalogues


@pytest.fixture(autouse=True)
def restore_logging() -> object:
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
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
