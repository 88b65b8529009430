"""`python -m bot doctor` as a command: its exit code, its JSON, and what it never shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bot import doctor
from bot.checks.environment import KNOWN
from bot.checks.finding import Finding, fault
from bot.config import Settings
from bot.doctor import examine
from tests.test_main import run

SECRET = "hf_a-secret-that-nobody-may-see"


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave the settings of who runs the tests outside."""
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


async def findings() -> list[Finding]:
    return [finding async for finding in examine()]


def only(monkeypatch: pytest.MonkeyPatch, check: Callable[[Settings], Finding]) -> None:
    """Let this be all that is checked of the settings."""

    async def carried_out(settings: Settings) -> Finding:
        return check(settings)

    monkeypatch.setattr(doctor, "_checks", lambda settings: {"disk": carried_out(settings)})


def test_without_a_token_it_ends_with_1_and_says_where_to_get_one(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path, FLUX_MODELS="tiny", DEVICE="cpu", HF_TOKEN=SECRET)
    assert done.returncode == 1
    assert "fault      token        DISCORD_TOKEN is not set\n" in done.stdout
    assert "copy it from https://discord.com/developers/applications, page Bot" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_settings_that_cannot_be_read_are_a_fault_and_json_says_so(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"HF_TOKEN={SECRET}\nQUANTIZATION=4-bit\n")
    done = run("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["healthy"] is False
    (settings,) = [each for each in report["checks"] if each["name"] == "settings"]
    assert settings == {
        "name": "settings",
        "state": "fault",
        "found": "QUANTIZATION is `4-bit`",
        "mend": "allowed: 8-bit, None",
    }
    assert report["checks"][-1]["state"] == "unchecked"
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.usefixtures("no_settings")
async def test_a_check_that_fails_itself_takes_no_other_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(settings: Settings) -> Finding:
        raise RuntimeError(f"it said {SECRET}")

    only(monkeypatch, broken)
    *others, last = await findings()
    assert {each.name for each in others} == {"Python", "packages", "settings"}
    assert last.state == "unchecked"
    assert last.found == "the check fails itself (RuntimeError)"


@pytest.mark.usefixtures("no_settings")
async def test_a_secret_that_an_answer_repeats_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    only(monkeypatch, lambda settings: fault("disk", f"no {SECRET} here", f"ask {SECRET}"))
    *_, last = await findings()
    assert (last.found, last.mend) == ("no <secret> here", "ask <secret>")
