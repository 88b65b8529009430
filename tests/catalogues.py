"""Languages of a test's own: catalogues of a few sentences, and members whose Discord is in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import simcord
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po
from simcord import interactions

import bot
from bot import i18n
from tools.catalogue import KEYWORDS

Sentence = str | tuple[str, str]
"""An English sentence, or the two of a number of things: of one, and of many."""


class Catalogues:
    """The catalogues that there are while a test runs: none, until it adds some."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._patch = patch
        patch.setattr(i18n, "LOCALES", folder)
        forget()

    def add(self, language: str, translations: Mapping[Any, Sentence]) -> None:
        """Add a language that has translations of some sentences, or replace it."""
        catalogue = Catalog(locale=language.replace("-", "_"))
        for sentence, translation in translations.items():
            catalogue.add(sentence, translation)
        with (self._folder / f"{language}.po").open("wb") as file:
            write_po(file, catalogue)
        forget()

    def add_quoted(self, language: str) -> None:
        """Add a language in which every sentence of the program stands in « and »."""
        self.add(language, {sentence: quoted(sentence) for sentence in sentences()})

    def give(self, member: simcord.MemberActor, language: str) -> None:
        """Put the Discord of a member into a language: simcord's clients are all in English."""
        base_payload = interactions.base_payload

        def in_language(*arguments: Any, **named: Any) -> Any:
            record, payload = base_payload(*arguments, **named)
            if named["user_id"] == member.id:
                payload["locale"] = language
            return record, payload

        self._patch.setattr(interactions, "base_payload", in_language)


@pytest.fixture
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogues]:
    """No catalogues but those that the test adds."""
    with pytest.MonkeyPatch.context() as patch:
        yield Catalogues(tmp_path_factory.mktemp("locales"), patch)
    forget()


def quoted(sentence: Sentence) -> Sentence:
    """Return a sentence, or both of a number of things, as `add_quoted` translates it."""
    if isinstance(sentence, str):
        return f"« {sentence} »"
    one, many = sentence
    return f"« {one} »", f"« {many} »"


@cache
def sentences() -> frozenset[Sentence]:
    """Return every sentence of the program that is marked to be translated."""
    found = extract_from_dir(
        Path(bot.__file__).parent, method_map=[("**.py", "python")], keywords=KEYWORDS
    )
    return frozenset(sentence for _, _, sentence, _, _ in found)


def forget() -> None:
    """Let the catalogues be read anew, as after a start of the program."""
    i18n.languages.cache_clear()
    i18n._catalogue.cache_clear()
