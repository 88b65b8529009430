"""Languages: what people read, in that of who reads it.

The sentences of the program are English, and the catalogues in `locales/`, one `.po` file for each
other language, have their translations. Which one is spoken belongs to the task: to an interaction
its member's, to a job that of who asked for it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Literal, TypeVar

from babel import Locale
from babel.lists import format_list
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent

LOCALES = Path(__file__).with_name("locales")

ENGLISH = "en"
"""The language of the program's own sentences, which needs no catalogue."""

Text = TypeVar("Text", bound=str)

_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)


@cache
def languages() -> tuple[str, ...]:
    """Return the languages that there are, by Discord's names for them."""
    return (ENGLISH, *sorted(path.stem for path in LOCALES.glob("*.po")))


def best_language(locale: str) -> str:
    """Return the language for a client's locale: fr for fr, English for en-GB and unknown ones."""
    for name in (locale, locale.partition("-")[0]):
        if name in languages():
            return name
    return ENGLISH


def name_of(language: str) -> str:
    """Return what a language calls itself: English, français."""
    return str(_locale(language).display_name)


def language() -> str:
    """Return the language that is spoken in this task."""
    return _spoken.get()


def speak(language: str) -> None:
    """Speak a language from here on in this task, and in those that it starts."""
    _spoken.set(language if language in languages() else ENGLISH)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak a language for a while."""
    token = _spoken.set(language if language in languages() else ENGLISH)
    try:
        yield
    finally:
        _spoken.reset(token)


def N_(text: Text) -> Text:  # noqa: N802 - as gettext calls it
    """Mark a text that is translated later, where it is shown: a constant."""
    return text


def _(text: str, /, **values: object) -> str:
    """Return a text in the language that is spoken, its `{places}` filled with values."""
    said = _catalogue(language()).gettext(text) if text else ""  # that of "" is the file's header
    return said.format(**values) if values else said


def counted(one: str, many: str, count: int, /, **values: object) -> str:
    """Return a text about a number of things, which stands for `{n}`: 1 job, 2 jobs."""
    said = _catalogue(language()).ngettext(one, many, count)
    return said.format(n=number(count), **values)


def number(value: float, digits: int | None = None) -> str:
    """Return a number as the language writes it, with the decimals that it has, or `digits`."""
    decimals = "#" * 10 if digits is None else "0" * digits
    # without separators between thousands: 1024 is what people type
    return str(format_decimal(value, f"0.{decimals}".rstrip("."), _here()))


def percent(share: float) -> str:
    """Return a share of 1 as percent: 73 %."""
    return str(format_percent(share, "0 %", _here()))


def listed(parts: Sequence[str], style: Literal["standard", "or"] = "standard") -> str:
    """Return several things as a part of a sentence: a, b and c; of one of them, a, b or c."""
    # the English of other countries than Britain has another comma, which our sentences have not
    here = _locale("en-GB") if language() == ENGLISH else _here()
    return str(format_list(parts, style, here))


def _here() -> Locale:
    return _locale(language())


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(language, sep="-")


@cache
def _catalogue(language: str) -> NullTranslations:
    """Return the translations of a language; English has none, and each text stands for itself."""
    if language == ENGLISH:
        return NullTranslations()
    with (LOCALES / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language.replace("-", "_"))
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)
