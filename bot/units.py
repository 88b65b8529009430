"""Numbers as people read them."""

from __future__ import annotations


def format_bytes(count: float) -> str:
    """Return a size with one decimal: 16.7 GB, 8.8 MB, 12.3 kB."""
    if abs(count) >= 1e8:
        return f"{count / 1e9:.1f} GB"
    if abs(count) >= 1e5 or not count:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.1f} kB"


def counted(number: int, noun: str) -> str:
    """Return a number of things: 1 job, 2 jobs."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_seconds(seconds: float) -> str:
    """Return a duration: 0.16 s, 4.2 s, 3 min 20 s."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def format_wait(seconds: float) -> str:
    """Return a time that is only a forecast: 4 s, 3 min, 2 h."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
