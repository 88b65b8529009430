"""What is wrong with a catalogue: texts that are missing, and translations that cannot be right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter

from babel.messages import Catalog
from babel.messages.catalog import Message

TYPED = re.compile(r"`[^`]+`|(?<![\w/<])/[a-z]+")
"""What people type, in a text for people: a value in backticks, or a command."""

LIMIT = re.compile(r"at most (\d+) characters")


def note(limit: int) -> str:
    """Return what translators, and this check, are told of a text that may not be longer."""
    return f"at most {limit} characters"


def untranslated(catalogue: Catalog) -> list[str]:
    """Return the texts that have no translation, or not one for each number of things."""
    return [name(each) for each in catalogue if each.id and not all(translations(each))]


def faults(catalogue: Catalog, wanted: Catalog) -> list[str]:
    """Return what is wrong with a catalogue, in sentences, given all texts that there are."""
    known = {each.id: each for each in catalogue if each.id}
    there = {each.id: each for each in wanted if each.id}
    return [
        *(f"{name(each)} is missing." for id_, each in there.items() if id_ not in known),
        *(f"{name(each)} is said nowhere." for id_, each in known.items() if id_ not in there),
        *(f"{text} is not translated." for text in untranslated(catalogue)),
        *(
            f"{name(each)}: {fault}"
            for id_, each in known.items()
            if id_ in there
            for translation in filter(None, translations(each))
            for fault in _differences(there[id_], translation)
        ),
    ]


def name(message: Message) -> str:
    """Return a text of the program in quotes, as it is found in a catalogue."""
    text = originals(message)[-1].replace("\n", "\\n")
    return f'"{text}"'


def originals(message: Message) -> tuple[str, ...]:
    """Return a text of the program; of one about a number of things, that of one and of many."""
    return message.id if isinstance(message.id, tuple) else (str(message.id),)


def translations(message: Message) -> tuple[str, ...]:
    """Return the translations of a text, as many as there should be, empty if it has none.

    One that is marked as a guess is none: it is not spoken.
    """
    found = message.string if isinstance(message.string, tuple | list) else (message.string,)
    return tuple("" if message.fuzzy else str(each or "") for each in found) or ("",)


def _differences(wanted: Message, translation: str) -> Iterator[str]:
    """Yield how a translation differs in what it may not."""
    texts = originals(wanted)
    try:
        places = _places(translation)
    except ValueError as error:
        yield f"the translation cannot be filled in: {error}."
        return
    if places not in [_places(text) for text in texts]:
        yield f"the translation has the places {_shown(places)}, not {_shown(_places(texts[-1]))}."
    if _typed(translation) not in [_typed(text) for text in texts]:
        yield f"the translation changes what is typed: {_shown(_typed(texts[-1]))}."
    limits = [int(limit) for each in wanted.auto_comments for limit in LIMIT.findall(each)]
    if limits and len(translation) > min(limits):
        yield f"the translation has {len(translation)} characters, {note(min(limits))} are shown."


def _places(text: str) -> set[str]:
    """Return the places of a text that values are put into; raise ValueError if it is broken."""
    return {field for _text, field, _spec, _conversion in Formatter().parse(text) if field}


def _typed(text: str) -> set[str]:
    return {each for each in TYPED.findall(text) if "{" not in each}


def _shown(found: set[str]) -> str:
    return ", ".join(sorted(found)) or "none"
