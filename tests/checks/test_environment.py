"""`.env` is looked at without a value of it ever being shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bot.checks.environment import KNOWN, check_environment
from bot.checks.finding import Finding

SECRET = "MTAwMDAwMDAw.abc-DEF"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the settings of who runs the tests outside."""
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)


def examined(folder: Path, text: str, mode: int = 0o600) -> list[Finding]:
    """Return what is said of an `.env` with this text, which names no secret."""
    file = folder / ".env"
    file.write_text(text)
    file.chmod(mode)
    _, findings = check_environment(file)
    assert not any(SECRET in str(finding) for finding in findings)
    return findings


def test_an_env_file_in_order_is_ok(tmp_path: Path) -> None:
    (finding,) = examined(tmp_path, f"DISCORD_TOKEN={SECRET}\nDEVICE=cpu\n")
    assert finding.state == "ok"


def test_a_wrong_value_is_a_fault_that_says_what_is_allowed(tmp_path: Path) -> None:
    (finding,) = examined(tmp_path, f"DISCORD_TOKEN={SECRET}\nDEVICE=gpu\n")
    assert (finding.state, finding.found) == ("fault", "DEVICE is `gpu`")
    assert finding.mend.startswith("allowed: auto, cuda")


def test_a_misspelt_name_is_a_warning_with_the_one_that_was_meant(tmp_path: Path) -> None:
    (finding,) = examined(tmp_path, f"DISCORD_TOKN={SECRET}\n")
    assert finding.state == "warning"
    assert finding.found.endswith("sets DISCORD_TOKN: not known")
    assert finding.mend == "write DISCORD_TOKEN for DISCORD_TOKN"


def test_a_token_that_stands_where_a_name_should_is_not_shown(tmp_path: Path) -> None:
    (finding,) = examined(tmp_path, f"{SECRET}\n")
    assert finding.state == "warning"
    assert "begins with no name of a setting" in finding.found


@pytest.mark.skipif(os.name != "posix", reason="other systems have other rights")
def test_tokens_that_others_can_read_are_a_warning(tmp_path: Path) -> None:
    (finding,) = examined(tmp_path, f"HF_TOKEN={SECRET}\n", mode=0o644)
    assert finding.state == "warning"
    assert finding.mend.startswith("chmod 600 ")
    (finding,) = examined(tmp_path, "DEVICE=cpu\n", mode=0o644)
    assert finding.state == "ok"


def test_without_the_file_the_environment_is_enough(tmp_path: Path) -> None:
    settings, (finding,) = check_environment(tmp_path / ".env")
    assert settings is not None
    assert finding.state == "ok"
