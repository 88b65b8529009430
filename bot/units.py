"""Numbers as people read them."""

from __future__ import annotations

from bot.i18n import _, number


def format_bytes(count: float) -> str:
    """Return a size with one decimal: 16.7 GB, 8.8 MB, 12.3 kB."""
    if abs(count) >= 1e8:
        return _("{size} GB", size=number(count / 1e9, 1))
    if abs(count) >= 1e5 or not count:
        return _("{size} MB", size=number(count / 1e6, 1))
    return _("{size} kB", size=number(count / 1e3, 1))


def format_seconds(seconds: float) -> str:
    """Return a duration: 0.16 s, 4.2 s, 3 min 20 s."""
    if seconds < 1:
        return _("{seconds} s", seconds=number(seconds, 2))
    if seconds < 60:
        return _("{seconds} s", seconds=number(seconds, 1))
    minutes, rest = divmod(round(seconds), 60)
    return _("{minutes} min {seconds} s", minutes=minutes, seconds=rest)


def format_wait(seconds: float) -> str:
    """Return a time that is only a forecast: 4 s, 3 min, 2 h."""
    if seconds < 60:
        return _("{seconds} s", seconds=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 60:
        return _("{minutes} min", minutes=minutes)
    return _("{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)
