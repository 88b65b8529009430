"""How far long work is, as a log tells it and as a terminal shows it."""

from __future__ import annotations

import io

from bot.inference.progress import PAUSE, Bars, Count, Lines, show_progress

MB = 10**6


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_and_not_too_many() -> None:
    clock, log = Clock(), io.StringIO()
    progress = Lines(log, clock)
    progress.overall.total = 1000 * MB
    with progress.piece("model.safetensors", 600 * MB, counts=True) as advance:
        for _ in range(600):
            advance(MB)
            clock.now += PAUSE / 300
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0] == (
        " 50 %  model.safetensors: 0.3 GB of 0.6 GB;"
        " in all 30 %, 0.3 GB of 1.0 GB, 10.0 MB/s, 1 min left"
    )
    assert lines[-1].startswith("100 %  model.safetensors: 0.6 GB of 0.6 GB; in all 60 %")
    assert all(line.isprintable() for line in lines)


def test_what_is_small_gets_no_line_but_counts() -> None:
    log = io.StringIO()
    progress = Lines(log)
    with progress.piece("config.json", 700, counts=True, quiet=True) as advance:
        advance(700)
    assert (log.getvalue(), progress.overall.done) == ("", 700)


def test_what_was_there_and_a_pause_say_nothing_of_the_speed() -> None:
    clock = Clock()
    count = Count(100 * MB, 50 * MB, clock)
    assert count.pace == ""
    count.advance(MB)
    clock.now += 1
    count.advance(MB)
    assert count.pace.startswith(", 1.0 MB/s, ")
    count.rest()
    clock.now += 1000
    count.advance(MB)
    assert count.pace == ""


def test_a_terminal_shows_a_bar_for_the_file_and_one_for_all() -> None:
    terminal = Terminal()
    progress = Bars(terminal)
    progress.overall.total = 100 * MB
    with progress.piece("model.safetensors", 50 * MB, 20 * MB, counts=True) as advance:
        advance(0)
    shown = terminal.getvalue()
    assert " 40 % |" in shown
    assert "20.0 MB of 50.0 MB  model.safetensors" in shown
    assert "of 0.1 GB  in all" in shown


def test_who_looks_gets_bars_and_a_log_gets_lines() -> None:
    assert isinstance(show_progress(Terminal()), Bars)
    assert isinstance(show_progress(io.StringIO()), Lines)
