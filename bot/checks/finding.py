"""What a check has found: one line, and below it what mends a fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fault", "unchecked"]

_STATE, _NAME = 10, 12
"""Widths of the first two columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """How it stands with one thing; with a fault the bot, or a part of it, does not work."""

    name: str
    state: State
    found: str
    mend: str = ""

    def __str__(self) -> str:
        lines = [f"{self.state:<{_STATE}} {self.name:<{_NAME}} {self.found}"]
        if self.mend:
            lines.append(f"{'':{_STATE}} {'':{_NAME}} → {self.mend}")
        return "\n".join(printable(line) for line in lines)


def ok(name: str, found: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(name=name, state="ok", found=found)


def warning(name: str, found: str, mend: str) -> Finding:
    """Return that something works, but not as it might."""
    return Finding(name=name, state="warning", found=found, mend=mend)


def fault(name: str, found: str, mend: str) -> Finding:
    """Return that something does not work."""
    return Finding(name=name, state="fault", found=found, mend=mend)


def unchecked(name: str, reason: str) -> Finding:
    """Return that something could not be checked, and why."""
    return Finding(name=name, state="unchecked", found=reason)


def printable(text: str) -> str:
    """Return a text without what would steer a terminal: servers have names of their own."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
