"""How far long work on files is: bars on a terminal, and plain lines now and then in a log."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from bot.units import format_bytes, format_wait

PAUSE = 30.0
"""Seconds between two lines of a log."""

WINDOW = 20.0
"""Seconds that a speed is taken over."""

Advance = Callable[[int], None]
"""Tells of bytes that are done since; less than 0 where they have to be done again."""


class Count:
    """Bytes that are done, of how many, and how fast they come; `clock` gives seconds."""

    def __init__(self, total: int, done: int = 0, clock: Callable[[], float] = time.monotonic):
        self.total, self.done = total, done
        self._clock = clock
        self._moments: deque[tuple[float, int]] = deque()

    def __str__(self) -> str:
        return f"{format_bytes(self.done)} of {format_bytes(self.total)}"

    @property
    def percent(self) -> int:
        """How much is done; 100 stands for all of it."""
        return 100 * self.done // self.total if self.total else 100

    def advance(self, count: int) -> None:
        """Note that bytes have come."""
        now = self._clock()
        self.done += count
        self._moments.append((now, self.done))
        while now - self._moments[0][0] > WINDOW:
            self._moments.popleft()

    def rest(self) -> None:
        """Note that nothing is to come for a while, which says nothing of the speed."""
        self._moments.clear()

    @property
    def pace(self) -> str:
        """Bytes a second and the time that is left, in words; nothing where that is unknown."""
        if not self._moments or self.done >= self.total:
            return ""
        (start, before), (end, after) = self._moments[0], self._moments[-1]
        if end <= start or after <= before:
            return ""
        speed = (after - before) / (end - start)
        left = format_wait((self.total - self.done) / speed)
        return f", {format_bytes(speed)}/s, {left} left"


class Progress(Protocol):
    """Shows pieces of work, and the sum of those that count to it."""

    overall: Count

    def say(self, line: str) -> None:
        """Say a sentence that stays."""
        ...

    def piece(
        self, title: str, total: int, done: int = 0, *, counts: bool, quiet: bool = False
    ) -> AbstractContextManager[Advance]:
        """Show a piece of work, unless it is small and to be `quiet`."""
        ...


class Lines:
    """Progress for who reads a log: no more than a line in `PAUSE` seconds, and one at each end."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.overall = Count(0, clock=clock)
        self._stream = stream
        self._clock = clock
        self._last = clock()

    def say(self, line: str) -> None:
        """Say a sentence on standard output."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    @contextmanager
    def piece(
        self, title: str, total: int, done: int = 0, *, counts: bool, quiet: bool = False
    ) -> Iterator[Advance]:
        """Show a piece of work."""
        count = Count(total, done, self._clock)

        def advance(more: int) -> None:
            count.advance(more)
            if counts:
                self.overall.advance(more)
            if self._clock() - self._last >= PAUSE:
                self._print(title, count, counts)

        self.overall.rest()
        yield advance
        if not quiet:
            self._print(title, count, counts)

    def _print(self, title: str, count: Count, counts: bool) -> None:
        self._last = self._clock()
        line = f"{count.percent:3} %  {title}: {count}"
        if counts:
            line += f"; in all {self.overall.percent} %, {self.overall}{self.overall.pace}"
        else:
            line += count.pace
        self._stream.write(f"{line}\n")
        self._stream.flush()


class Bars:
    """Progress for who watches: a bar for the piece of work, and one below for all of it."""

    def __init__(self, stream: TextIO) -> None:
        self.overall = Count(0)
        self._stream = stream

    def say(self, line: str) -> None:
        """Say a sentence on standard output, above the bars."""
        tqdm.write(line)
        sys.stdout.flush()

    @contextmanager
    def piece(
        self, title: str, total: int, done: int = 0, *, counts: bool, quiet: bool = False
    ) -> Iterator[Advance]:
        """Show a piece of work."""
        if quiet:
            yield self.overall.advance if counts else _nothing
            return
        bars = [self._bar(Count(total, done), title, with_pace=not counts)]
        if counts:
            bars.append(self._bar(self.overall, "in all", with_pace=True))

        def advance(more: int) -> None:
            for bar in bars:
                bar.count.advance(more)
                bar.update(more)

        self.overall.rest()
        try:
            yield advance
        finally:
            for bar in reversed(bars):
                bar.close()

    def _bar(self, count: Count, title: str, *, with_pace: bool) -> _Bar:
        def words() -> str:
            return f"{count}{count.pace if with_pace else ''}  {title}"

        return _Bar(count, words, self._stream)


def _nothing(_: int) -> None:
    """Show nothing of what is done."""


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar that goes when its work is done; its words are made when they are shown."""

    def __init__(self, count: Count, words: Callable[[], str], stream: TextIO) -> None:
        self.count = count
        self._words = words
        super().__init__(
            total=count.total,
            initial=count.done,
            file=stream,
            leave=False,
            dynamic_ncols=True,
            miniters=1,
            bar_format="{percentage:3.0f} % |{bar:20}| {desc}",
        )

    @property
    def format_dict(self) -> Any:
        # where bytes came that were not foreseen, the total has grown
        now = {"prefix": self._words(), "n": self.count.done, "total": self.count.total}
        return {**super().format_dict, **now}


def show_progress(stream: TextIO | None = None) -> Bars | Lines:
    """Return what shows progress on a stream, standard error by default."""
    stream = stream or sys.stderr
    return Bars(stream) if stream.isatty() else Lines(stream)
