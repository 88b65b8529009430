"""The unit for systemd: what systemd says of it, and what it must hold."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bot.__main__ import EX_CONFIG
from bot.config import Settings

UNIT = Path(__file__).parents[2] / "deploy" / "fluxbot.service"
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")

needs_systemd = pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="systemd-analyze is not here")

NEWER = ("RestartSteps", "RestartMaxDelaySec")
"""Settings since systemd 254, which older ones ignore with a warning."""


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    """The settings of the unit, each with all its values in their order."""
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def analyze(*arguments: str | Path) -> str:
    assert SYSTEMD_ANALYZE is not None
    done = subprocess.run([SYSTEMD_ANALYZE, *arguments], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_finds_nothing_amiss(tmp_path: Path) -> None:
    installed = tmp_path / "fluxbot"
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    there = UNIT.read_text().replace("/opt/fluxbot/bin/fluxbot", str(installed))
    (tmp_path / "fluxbot.service").write_text(there)
    complaints = analyze("verify", tmp_path / "fluxbot.service").splitlines()
    ours = [line for line in complaints if "fluxbot" in line]
    assert not [line for line in ours if not any(setting in line for setting in NEWER)]


@needs_systemd
def test_systemd_calls_its_exposure_low(tmp_path: Path) -> None:
    report = analyze("security", "--offline=yes", UNIT)
    level = re.search(r"Overall exposure level .*: (\d+\.\d+)", report)
    assert level is not None, report
    assert float(level[1]) <= 2.0


def test_a_wrong_setting_or_token_is_not_tried_again(unit: dict[str, list[str]]) -> None:
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == [str(EX_CONFIG)]


def test_no_restarts_of_a_day_cost_the_bot_its_token(unit: dict[str, list[str]]) -> None:
    assert unit["StartLimitIntervalSec"] == ["1d"]
    assert int(unit["StartLimitBurst"][0]) < 1000


def test_the_bot_is_asked_to_stop_and_has_the_time_for_it(unit: dict[str, list[str]]) -> None:
    assert unit["KillMode"] == ["mixed"]
    assert int(unit["TimeoutStopSec"][0]) >= Settings().shutdown_grace_s + 10
    assert "KillSignal" not in unit  # SIGTERM, as it is


def test_it_writes_nowhere_but_to_its_own_folders(unit: dict[str, list[str]]) -> None:
    assert unit["User"] == ["fluxbot"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["StateDirectory"] == unit["CacheDirectory"] == ["fluxbot"]
    assert "ReadWritePaths" not in unit


def test_the_gpu_stays_in_sight_and_code_may_be_compiled(unit: dict[str, list[str]]) -> None:
    assert "char-nvidia* rw" in unit["DeviceAllow"]
    assert not {"PrivateDevices", "MemoryDenyWriteExecute"} & set(unit)


def test_no_secret_is_in_the_unit(unit: dict[str, list[str]]) -> None:
    assert unit["EnvironmentFile"] == ["/etc/fluxbot/env"]
    assert not [value for value in unit["Environment"] if "TOKEN" in value]
