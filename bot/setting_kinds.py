"""What a setting may be: how it is typed, kept as JSON and shown, with every bad value refused.

A value is what `load` returns: immutable, so that it can be handed around. `parse` takes what a
moderator typed, `load` what the database or an imported file holds, and both raise RequestError.
`show` is for reading, `edit` is what `parse` makes the same value of.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bot.errors import RequestError

MOST = 100
"""Channels, roles or members in one setting."""

EMPTY = ("none", "nothing", "-", "")
"""What is typed for a list without anything in it."""


class Kind(Protocol):
    """A kind of setting; `hint` says what may be typed."""

    @property
    def hint(self) -> str: ...

    def parse(self, text: str) -> Any: ...

    def load(self, value: Any) -> Any: ...

    def dump(self, value: Any) -> Any: ...

    def show(self, value: Any) -> str: ...

    def edit(self, value: Any) -> str: ...


class _Plain:
    """What JSON holds as it is."""

    def dump(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Switch(_Plain):
    """On or off."""

    hint = "on or off"

    def parse(self, text: str) -> bool:
        words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
        return self.load(words.get(text.strip().lower(), text))

    def load(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise refused(value, self.hint)
        return value

    def show(self, value: bool) -> str:
        return "on" if value else "off"

    edit = show


@dataclass(frozen=True, slots=True)
class Whole(_Plain):
    """A whole number; `zero` is what 0 stands for, where it stands for something else."""

    low: int
    high: int
    unit: str = ""
    zero: str = ""

    @property
    def hint(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        zero = f"; 0: {self.zero}" if self.zero else ""
        return f"a whole number from {self.low} to {self.high}{unit}{zero}"

    def parse(self, text: str) -> int:
        words = text.strip().lower().removesuffix(self.unit).strip()
        if self.zero and words in (self.zero, *EMPTY):
            return 0
        return self.load(int(words) if re.fullmatch(r"\d{1,9}", words) else text)

    def load(self, value: Any) -> int:
        if type(value) is not int or not self.low <= value <= self.high:
            raise refused(value, self.hint)
        return value

    def show(self, value: int) -> str:
        if value == 0 and self.zero:
            return self.zero
        return f"{value} {self.unit}".rstrip()

    def edit(self, value: int) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class OneOf(_Plain):
    """One of some words; None, where there is an `unset`, is shown as that."""

    options: tuple[str, ...]
    unset: str = ""

    @property
    def hint(self) -> str:
        return "one of " + ", ".join((*((self.unset,) if self.unset else ()), *self.options))

    def parse(self, text: str) -> str | None:
        typed = text.strip().lower()
        if self.unset and typed == self.unset.lower():
            return None
        return self.load(next((each for each in self.options if each.lower() == typed), text))

    def load(self, value: Any) -> str | None:
        if (value is None and self.unset) or value in self.options:
            return value  # type: ignore[no-any-return]
        raise refused(value, self.hint)

    def show(self, value: str | None) -> str:
        return self.unset if value is None else value

    edit = show


@dataclass(frozen=True, slots=True)
class Several:
    """Some of these words, at least one."""

    options: tuple[str, ...]

    @property
    def hint(self) -> str:
        return f"`all`, or some of {', '.join(self.options)}"

    def parse(self, text: str) -> tuple[str, ...]:
        words = text.lower().replace(",", " ").split()
        return self.options if words == ["all"] else self.load(words)

    def load(self, value: Any) -> tuple[str, ...]:
        if not is_list(value) or not value or not all(each in self.options for each in value):
            raise refused(value, self.hint)
        return tuple(each for each in self.options if each in value)

    def dump(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def show(self, value: tuple[str, ...]) -> str:
        return "all" if value == self.options else ", ".join(value)

    edit = show


@dataclass(frozen=True, slots=True)
class Ids:
    """Channels or roles; `sign` is what a mention of one begins with."""

    what: str
    sign: str

    @property
    def hint(self) -> str:
        return f"{self.what} as mentions or ids, or `none`"

    def parse(self, text: str) -> tuple[int, ...]:
        if text.strip().lower() in EMPTY:
            return ()
        mention = re.compile(rf"<{self.sign}(\d{{15,20}})>|(\d{{15,20}})")
        if mention.sub("", text).strip(" ,\n"):
            raise refused(text, self.hint)
        return self.load([int(each[1] or each[2]) for each in mention.finditer(text)])

    def load(self, value: Any) -> tuple[int, ...]:
        if not is_list(value) or len(value) > MOST or not all(map(is_id, value)):
            raise refused(value, f"{self.hint}, {MOST} at most")
        return tuple(dict.fromkeys(value))

    def dump(self, value: tuple[int, ...]) -> list[int]:
        return list(value)

    def show(self, value: tuple[int, ...]) -> str:
        return " ".join(f"<{self.sign}{each}>" for each in value) or "none"

    edit = show


@dataclass(frozen=True, slots=True)
class OneChannel(_Plain):
    """A channel, or None."""

    hint = "a channel as a mention or id, or `none`"

    def parse(self, text: str) -> int | None:
        ids = Ids("a channel", "#").parse(text)
        if len(ids) > 1:
            raise refused(text, self.hint)
        return ids[0] if ids else None

    def load(self, value: Any) -> int | None:
        if value is not None and not is_id(value):
            raise refused(value, self.hint)
        return value  # type: ignore[no-any-return]

    def show(self, value: int | None) -> str:
        return "none" if value is None else f"<#{value}>"

    edit = show


@dataclass(frozen=True, slots=True)
class Texts:
    """Some texts, each of which `check` returns as it is kept, or refuses.

    Lines separate them in any case. `check_all` may refuse them together.
    """

    what: str
    check: Callable[[str], str]
    separator: str
    most: int
    check_all: Callable[[tuple[str, ...]], object] = len

    @property
    def hint(self) -> str:
        between = "one in each line" if self.separator == "\n" else "with commas between them"
        return f"{self.what}, {between}, or `none`"

    def parse(self, text: str) -> tuple[str, ...]:
        if text.strip().lower() in EMPTY:
            return ()
        texts = text.replace(self.separator, "\n").split("\n")
        return self.load([each for each in texts if each.strip()])

    def load(self, value: Any) -> tuple[str, ...]:
        if not is_list(value) or not all(isinstance(each, str) for each in value):
            raise refused(value, self.hint)
        if len(value) > self.most:
            raise RequestError(f"These are {len(value)} {self.what}.", f"Use {self.most} at most.")
        for each in value:
            if self.separator in each or "\n" in each:
                raise refused(each, self.hint)
        texts = tuple(dict.fromkeys(map(self.check, value)))
        self.check_all(texts)
        return texts

    def dump(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def show(self, value: tuple[str, ...]) -> str:
        return ", ".join(f"`{each.replace('`', chr(39))}`" for each in value) or "none"

    def edit(self, value: tuple[str, ...]) -> str:
        text = self.separator.join(value)
        if value and text.strip().lower() in EMPTY:
            return f"{text}\n{text}"  # this very word: alone it would stand for an empty list
        return text or "none"


def refused(value: Any, hint: str) -> RequestError:
    """Return the error that says what would be a value."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    shown = (text if len(text) <= 60 else f"{text[:60]}…").replace("`", "'")
    return RequestError(f"`{shown}` is not a value for this.", f"Allowed: {hint}.")


def is_list(value: Any) -> bool:
    """Tell whether a value is a list of values, as JSON holds it or as `load` made it."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def is_id(value: Any) -> bool:
    """Tell whether a value may be what Discord calls something by."""
    return type(value) is int and 10**14 <= value < 2**63
