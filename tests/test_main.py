"""The command line: quick help, and one sentence where it cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.__main__ import EX_CONFIG, build_parser


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bot", *arguments],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "DISCORD_TOKEN"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_names_the_commands_and_loads_neither_torch_nor_discord(tmp_path: Path) -> None:
    program = (
        "import sys, bot.__main__\n"
        "bot.__main__.build_parser().print_help()\n"
        "assert not {'torch', 'discord', 'diffusers'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "run" in done.stdout
    assert "playground" in done.stdout


@pytest.mark.parametrize(
    ("called", "name"), [("/usr/bin/fluxbot", "fluxbot"), ("bot/__main__.py", "python -m bot")]
)
def test_help_shows_the_command_as_it_was_called(
    called: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert build_parser().format_usage().startswith(f"usage: {name} [-h]")


def test_a_missing_token_is_one_sentence(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert done.returncode == EX_CONFIG
    assert done.stderr.startswith("DISCORD_TOKEN is not set. Allowed: the token of your")
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_variable_is_one_sentence(tmp_path: Path) -> None:
    done = run("playground", "--once", "/generate prompt:x", cwd=tmp_path, QUANTIZATION="4-bit")
    assert done.returncode == EX_CONFIG
    assert done.stderr == "QUANTIZATION is `4-bit`. Allowed: 8-bit, None.\n"


def test_a_bad_env_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DEVICE=gpu\n")
    done = run(cwd=tmp_path)
    assert done.returncode == EX_CONFIG
    assert done.stderr.startswith("DEVICE is `gpu`. Allowed: auto, cuda")


def test_a_data_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run(cwd=tmp_path, DISCORD_TOKEN="token", DATA_DIR="file/data")
    assert done.returncode == 1
    assert done.stderr.startswith("The data folder file/data cannot be used: Not a directory.")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["playground", "--help"]])
def test_asking_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    assert run(*arguments, cwd=tmp_path).returncode == 0


def test_save_without_once_is_refused(tmp_path: Path) -> None:
    done = run("playground", "--save", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("--save goes with --once\n")
