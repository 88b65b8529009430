"""The catalogues: whole, right in what may not differ, and kept up to date by a command."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

from bot import i18n
from bot.i18n import ENGLISH, languages, speaking
from bot.settings import KEYS, PAGES
from tests.catalogues import Catalogues, forget
from tools.catalogue import discords, file_of, main, read, template
from tools.catalogue_check import faults

Break = Callable[[Catalog], object]

EXACT = "There is no setting `{name}`."
COUNTED = "{n} setting has been reset for {place}."


@pytest.fixture(scope="module")
def texts() -> Catalog:
    """All that the program says."""
    return template()


def whole(texts: Catalog) -> Catalog:
    """Return a catalogue of a language that is English, with nothing left to do."""
    catalogue = Catalog(locale="fr", charset="utf-8", fuzzy=False)
    catalogue.update(copy.deepcopy(texts), no_fuzzy_matching=True)
    translate(catalogue)
    return catalogue


def translate(catalogue: Catalog) -> None:
    """Fill a catalogue with the English of the texts."""
    for each in catalogue:
        if each.id:
            each.string = each.id


def test_every_language_says_all_that_the_program_says_and_gets_it_right(texts: Catalog) -> None:
    found = {name: faults(read(name), texts) for name in languages() if name != ENGLISH}
    assert not any(found.values()), found


def test_settings_and_their_pages_can_be_told_apart_in_every_language() -> None:
    for each in languages():
        with speaking(each):
            assert len({key.title for key in KEYS.values()}) == len(KEYS)
            assert len({i18n._(page) for page in PAGES}) == len(PAGES)


def test_english_keeps_to_discords_limits_itself(texts: Catalog) -> None:
    assert faults(whole(texts), texts) == []


def test_what_people_read_is_in_it_wherever_it_comes_from(texts: Catalog) -> None:
    for said in (
        EXACT,  # a sentence
        "max steps",  # the name of a setting
        "How many jobs may wait in this server",  # what it does
        "See and change all settings.",  # a command
        "This channel or category alone; without it, the whole server",  # an option of it
        "small square",  # a choice, without the numbers beside it
        "Image info",  # a context menu
    ):
        assert said in texts, said
    assert COUNTED in texts
    assert "max_steps" not in texts
    assert "settings" not in texts


def put(text: str, translation: str | tuple[str, ...]) -> Break:
    def change(catalogue: Catalog) -> None:
        catalogue[text].string = translation

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda catalogue: catalogue.delete(EXACT), f'"{EXACT}" is missing.'),
        (lambda catalogue: catalogue.add("Never said", "x"), '"Never said" is said nowhere.'),
        (put(EXACT, ""), f'"{EXACT}" is not translated.'),
        (lambda catalogue: catalogue[EXACT].flags.add("fuzzy"), f'"{EXACT}" is not translated.'),
        (put(COUNTED, ("{n} réglage pour {place}.", "")), "settings have been reset"),
        (put(COUNTED, ("{n} pour {place}.", "{n} {place} {x}.")), "places n, place, x, not n"),
        (put(EXACT, "Il n'y en a pas."), "has the places none, not name."),
        (put(EXACT, "Pas de réglage `{nom}`."), "has the places nom, not name."),
        (put(EXACT, "Pas de réglage `{name`."), "cannot be filled in: expected '}'"),
        (put("Image info", "x" * 33), "has 33 characters, at most 32 characters are shown."),
        (put("See and change all settings.", "x" * 101), "has 101 characters, at most 100"),
        (put("What it shall be", "x" * 101), "has 101 characters, at most 100"),
        (put("small square", "x" * 100), "has 100 characters, at most"),
        (put("Reset", "x" * 81), "has 81 characters, at most 80 characters are shown."),
        (put("max steps", "x" * 46), "has 46 characters, at most 45 characters are shown."),
        (put("Open your own with `/settings panel`.", "Voyez `/réglages`."), "what is typed: `/s"),
        (put("The model of /generate where none is chosen", "Le modèle"), "is typed: /generate."),
    ],
)
def test_a_catalogue_that_is_not_whole_or_not_right_is_found_out(
    texts: Catalog, change: Break, fault: str
) -> None:
    catalogue = whole(texts)
    change(catalogue)
    (found,) = faults(catalogue, texts)
    assert fault in found


def test_a_new_language_is_a_file_with_all_texts_and_it_is_spoken_once_they_are_translated(
    catalogues: Catalogues, texts: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["pt-BR"])
    everything = len(texts)
    said = f"pt-BR: {everything} texts, {everything} without a translation\n"
    assert capsys.readouterr().out == said
    with pytest.raises(SystemExit) as failed:
        main(["--check", "pt-BR"])
    assert failed.value.code == 1
    assert len(capsys.readouterr().out.splitlines()) == everything
    path = file_of("pt-BR")
    assert "#. at most 45 characters\n#: bot/settings.py\n" in path.read_text(encoding="utf-8")
    with path.open("rb") as file:
        catalogue = read_po(file, locale="pt_BR")
    translate(catalogue)
    catalogue["Reset"].string = "Redefinir"
    with path.open("wb") as file:
        write_po(file, catalogue)
    forget()
    with pytest.raises(SystemExit) as passed:
        main(["--check"])
    assert passed.value.code == 0
    with speaking("pt-BR"):
        assert i18n._("Reset") == "Redefinir"


def test_an_update_keeps_what_is_translated_and_takes_out_what_nobody_says(
    catalogues: Catalogues,
) -> None:
    catalogues.add("fr", {"Reset": "Rétablir", "Never said": "Jamais dit"})
    main([])
    once = file_of("fr").read_bytes()
    assert read("fr")["Reset"].string == "Rétablir"
    assert "Never said" not in read("fr")
    assert not read("fr")[EXACT].string
    main([])
    assert file_of("fr").read_bytes() == once


@pytest.mark.parametrize("name", ["german", "en", "../de", "tlh", ""])
def test_what_is_no_language_of_discords_gets_no_file(
    catalogues: Catalogues, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit):
        main([name])
    assert "Discord knows no language" in capsys.readouterr().err
    assert list(i18n.LOCALES.iterdir()) == []
    assert discords("de") == "de"
