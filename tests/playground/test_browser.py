"""The playground as a process: one link, a page behind it, an end without noise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def playground(
    *arguments: str, cwd: Path, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "playground", "--port", "0", *arguments],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
        | {"OMP_NUM_THREADS": "1", "DEVICE": "cpu"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


def test_it_prints_one_link_and_ends_without_noise(tmp_path: Path) -> None:
    with playground("--no-browser", cwd=tmp_path) as (process, line):
        url = line.split()[-1]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=20) as page:
            assert "preview" in page.read().decode()
        assert end(process, signal.SIGTERM) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "display", "opens"),
    [([], ":0", True), ([], "", False), (["--no-browser"], ":0", False)],
)
def test_a_browser_is_opened_where_there_is_a_screen(
    arguments: list[str], display: str, opens: bool, tmp_path: Path
) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    environment = {"BROWSER": f"{browser} %s", "DISPLAY": display}
    with playground(*arguments, cwd=tmp_path, **environment) as (process, line):
        assert process.stdout is not None
        process.stdout.readline()
        assert end(process, signal.SIGINT) == (0, "")
    assert opened.exists() == opens
    if opens:
        assert opened.read_text().strip() == line.split()[-1]
