"""What a setting may be: how it is typed, kept as JSON and shown, with every bad value refused.

A value is what `load` returns: immutable, so that it can be handed around. `parse` takes what a
moderator typed, `load` what the database or an imported file holds, and both raise RequestError.
`show` is for reading, in the language that is spoken; `edit` is what `parse` makes the same value
of, in all languages.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bot.errors import RequestError
from bot.i18n import N_, _, counted, languages, name_of, number, percent

MOST = 100
"""Channels, roles or members in one setting."""

EMPTY = ("none", "nothing", "-", "")
"""What is typed for a list without anything in it."""

A_CHANNEL = N_("a channel as a mention or id, or `none`")

UNITS: Mapping[str, Callable[[int], str]] = {
    "": number,
    "%": lambda value: percent(value / 100),
    "jobs": lambda value: counted("{n} job", "{n} jobs", value),
    "seconds": lambda value: counted("{n} second", "{n} seconds", value),
    "days": lambda value: counted("{n} day", "{n} days", value),
    "words": lambda value: counted("{n} word", "{n} words", value),
    "regular expressions": lambda value: counted(
        "{n} regular expression", "{n} regular expressions", value
    ),
}
"""What is counted, and how a number of it reads."""


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

    @property
    def hint(self) -> str:
        return _("{on} or {off}", on="on", off="off")

    def parse(self, text: str) -> bool:
        words = {self.show(value).lower(): value for value in (True, False)}
        words |= {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
        return self.load(words.get(text.strip().lower(), text))

    def load(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise refused(value, self.hint)
        return value

    def show(self, value: bool) -> str:
        return _("on") if value else _("off")

    def edit(self, value: bool) -> str:
        return "on" if value else "off"


@dataclass(frozen=True, slots=True)
class Whole(_Plain):
    """A whole number of a unit; `zero` is what 0 stands for, where it is something else."""

    low: int
    high: int
    unit: str = ""
    zero: str = ""

    @property
    def hint(self) -> str:
        low, high = number(self.low), UNITS[self.unit](self.high)
        if not self.zero:
            return _("a whole number from {low} to {high}", low=low, high=high)
        return _(
            "a whole number from {low} to {high}; 0: {zero}", low=low, high=high, zero=_(self.zero)
        )

    def parse(self, text: str) -> int:
        words = text.strip().lower()
        for unit in (self.unit, self.unit.removesuffix("s")):
            words = words.removesuffix(unit).strip()
        if self.zero and words in (self.zero, *EMPTY):
            return 0
        return self.load(int(words) if re.fullmatch(r"\d{1,9}", words) else text)

    def load(self, value: Any) -> int:
        if type(value) is not int or not self.low <= value <= self.high:
            raise refused(value, self.hint)
        return value

    def show(self, value: int) -> str:
        if value == 0 and self.zero:
            return _(self.zero)
        return UNITS[self.unit](value)

    def edit(self, value: int) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class OneOf(_Plain):
    """One of some words; None, where there is an `unset`, is typed and shown as that."""

    words: tuple[str, ...] = ()
    unset: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """What may be set."""
        return self.words

    @property
    def typed(self) -> tuple[str, ...]:
        """What may be typed: what may be set, after what stands for nothing that is."""
        return (*((self.unset,) if self.unset else ()), *self.options)

    @property
    def hint(self) -> str:
        return _("one of {words}", words=", ".join(self.typed))

    def label(self, typed: str) -> str:
        """Return what people read of something that may be typed."""
        return _(typed)

    def parse(self, text: str) -> str | None:
        words = {self.label(each).lower(): each for each in self.typed}
        words |= {each.lower(): each for each in self.typed}
        meant = words.get(text.strip().lower(), text)
        return None if self.unset and meant == self.unset else self.load(meant)

    def load(self, value: Any) -> str | None:
        if (value is None and self.unset) or value in self.options:
            return value  # type: ignore[no-any-return]
        raise refused(value, self.hint)

    def show(self, value: str | None) -> str:
        return self.label(self.edit(value))

    def edit(self, value: str | None) -> str:
        return self.unset if value is None else value


@dataclass(frozen=True, slots=True)
class OneLanguage(OneOf):
    """One of the languages that there are, each under its own name, or as each member's is."""

    unset: str = N_("each member's own")

    @property
    def options(self) -> tuple[str, ...]:
        return languages()

    @property
    def hint(self) -> str:
        return _("{unset}, or the code of a language, as `en`", unset=self.unset)

    def label(self, typed: str) -> str:
        return name_of(typed) if typed in self.options else _(typed)

    def load(self, value: Any) -> str | None:
        if value is None or value in self.options:
            return value  # type: ignore[no-any-return]
        raise refused(value, _("one of {words}", words=", ".join(self.typed)))


@dataclass(frozen=True, slots=True)
class Several:
    """Some of these words, at least one."""

    options: tuple[str, ...]

    @property
    def hint(self) -> str:
        return _("`all`, or some of {words}", words=", ".join(self.options))

    def parse(self, text: str) -> tuple[str, ...]:
        if text.strip().lower() in ("all", _("all").lower()):
            return self.options
        return self.load(text.lower().replace(",", " ").split())

    def load(self, value: Any) -> tuple[str, ...]:
        if not is_list(value) or not value or not all(each in self.options for each in value):
            raise refused(value, self.hint)
        return tuple(each for each in self.options if each in value)

    def dump(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def show(self, value: tuple[str, ...]) -> str:
        return _("all") if value == self.options else ", ".join(value)

    def edit(self, value: tuple[str, ...]) -> str:
        return "all" if value == self.options else ", ".join(value)


@dataclass(frozen=True, slots=True)
class Ids:
    """Channels or roles; `sign` is what a mention of one begins with."""

    allowed: str
    sign: str

    @property
    def hint(self) -> str:
        return _(self.allowed)

    def parse(self, text: str) -> tuple[int, ...]:
        if text.strip().lower() in EMPTY:
            return ()
        mention = re.compile(rf"<{self.sign}(\d{{15,20}})>|(\d{{15,20}})")
        if mention.sub("", text).strip(" ,\n"):
            raise refused(text, self.hint)
        return self.load([int(each[1] or each[2]) for each in mention.finditer(text)])

    def load(self, value: Any) -> tuple[int, ...]:
        if not is_list(value) or len(value) > MOST or not all(map(is_id, value)):
            raise refused(value, at_most(self.hint))
        return tuple(dict.fromkeys(value))

    def dump(self, value: tuple[int, ...]) -> list[int]:
        return list(value)

    def show(self, value: tuple[int, ...]) -> str:
        return self.edit(value) if value else _("none")

    def edit(self, value: tuple[int, ...]) -> str:
        return " ".join(f"<{self.sign}{each}>" for each in value) or "none"


@dataclass(frozen=True, slots=True)
class OneChannel(_Plain):
    """A channel, or None."""

    @property
    def hint(self) -> str:
        return _(A_CHANNEL)

    def parse(self, text: str) -> int | None:
        ids = Ids(A_CHANNEL, "#").parse(text)
        if len(ids) > 1:
            raise refused(text, self.hint)
        return ids[0] if ids else None

    def load(self, value: Any) -> int | None:
        if value is not None and not is_id(value):
            raise refused(value, self.hint)
        return value  # type: ignore[no-any-return]

    def show(self, value: int | None) -> str:
        return _("none") if value is None else f"<#{value}>"

    def edit(self, value: int | None) -> str:
        return "none" if value is None else f"<#{value}>"


@dataclass(frozen=True, slots=True)
class Texts:
    """Some texts, each of which `check` returns as it is kept, or refuses.

    Lines separate them in any case. `check_all` may refuse them together.
    """

    unit: str
    allowed: str
    check: Callable[[str], str]
    separator: str
    most: int
    check_all: Callable[[tuple[str, ...]], object] = len

    @property
    def hint(self) -> str:
        return _(self.allowed)

    def parse(self, text: str) -> tuple[str, ...]:
        if text.strip().lower() in EMPTY:
            return ()
        texts = text.replace(self.separator, "\n").split("\n")
        return self.load([each for each in texts if each.strip()])

    def load(self, value: Any) -> tuple[str, ...]:
        if not is_list(value) or not all(isinstance(each, str) for each in value):
            raise refused(value, self.hint)
        if len(value) > self.most:
            raise RequestError(
                _("These are {things}.", things=UNITS[self.unit](len(value))),
                _("Use {most} at most.", most=number(self.most)),
            )
        for each in value:
            if self.separator in each or "\n" in each:
                raise refused(each, self.hint)
        texts = tuple(dict.fromkeys(map(self.check, value)))
        self.check_all(texts)
        return texts

    def dump(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def show(self, value: tuple[str, ...]) -> str:
        return ", ".join(f"`{each.replace('`', chr(39))}`" for each in value) or _("none")

    def edit(self, value: tuple[str, ...]) -> str:
        text = self.separator.join(value)
        if value and text.strip().lower() in EMPTY:
            return f"{text}\n{text}"  # this very word: alone it would stand for an empty list
        return text or "none"


def refused(value: Any, hint: str) -> RequestError:
    """Return the error that says what would be a value."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    shown = (text if len(text) <= 60 else f"{text[:60]}…").replace("`", "'")
    return RequestError(
        _("`{value}` is not a value for this.", value=shown), _("Allowed: {hint}.", hint=hint)
    )


def at_most(hint: str) -> str:
    """Return a hint for channels, roles or members with how many of them there may be."""
    return _("{hint}, {most} at most", hint=hint, most=number(MOST))


def is_list(value: Any) -> bool:
    """Tell whether a value is a list of values, as JSON holds it or as `load` made it."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def is_id(value: Any) -> bool:
    """Tell whether a value may be what Discord calls something by."""
    return type(value) is int and 10**14 <= value < 2**63
