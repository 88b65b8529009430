"""Languages: which one is spoken, how it says numbers, and that all that people read goes there."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.i18n import (
    N_,
    _,
    best_language,
    counted,
    language,
    languages,
    listed,
    name_of,
    number,
    percent,
    speak,
    speaking,
)
from tests.catalogues import Catalogues, Sentence

BOT = Path(__file__).parents[1] / "bot"

FRENCH: dict[Sentence, Sentence] = {
    "Reset": "Rétablir",
    "There is no setting `{name}`.": "Il n'y a pas de réglage `{name}`.",
    ("{n} job in {place}", "{n} jobs in {place}"): ("{n} tâche à {place}", "{n} tâches à {place}"),
}


@pytest.fixture
def french(catalogues: Catalogues) -> Catalogues:
    """A little French, and the German of Switzerland, which says nothing."""
    catalogues.add("fr", FRENCH)
    catalogues.add("de-CH", {})
    return catalogues


def test_a_client_is_answered_in_its_language_or_in_the_one_without_a_country_or_in_english(
    french: Catalogues,
) -> None:
    assert languages() == ("en", "de-CH", "fr")
    asked = ["fr", "fr-CA", "de-CH", "de", "en-GB", "en-US", "ja", ""]
    assert [best_language(each) for each in asked] == (
        ["fr", "fr", "de-CH", "en", "en", "en", "en", "en"]
    )


def test_languages_call_themselves_what_they_do() -> None:
    assert [name_of(each) for each in ("en", "fr", "pt-BR")] == (
        ["English", "français", "português (Brasil)"]
    )


def test_a_language_is_spoken_for_a_while_and_then_the_one_before(french: Catalogues) -> None:
    assert (language(), _("Reset")) == ("en", "Reset")
    with speaking("fr"):
        assert (language(), _("Reset")) == ("fr", "Rétablir")
        with speaking("en"):
            assert _("Reset") == "Reset"
        with pytest.raises(KeyError), speaking("de-CH"):
            raise KeyError
        assert language() == "fr"
    assert language() == "en"


def test_what_nobody_has_translated_and_what_no_catalogue_is_for_is_said_in_english(
    french: Catalogues,
) -> None:
    with speaking("fr"):
        assert _("Something else") == "Something else"
        assert _("") == ""
    for other in ("tlh", "../fr", ""):
        with speaking(other):
            assert (language(), _("Reset")) == ("en", "Reset")


async def test_each_task_speaks_its_own_language(french: Catalogues) -> None:
    async def answer(spoken: str) -> str:
        speak(spoken)
        await asyncio.sleep(0)
        return await asyncio.to_thread(_, "Reset")

    assert await asyncio.gather(answer("fr"), answer("en"), answer("fr")) == (
        ["Rétablir", "Reset", "Rétablir"]
    )
    assert language() == "en"


def test_values_are_put_where_the_translation_has_them_and_taken_as_they_are(
    french: Catalogues,
) -> None:
    constant = N_("There is no setting `{name}`.")
    with speaking("fr"):
        assert _(constant, name="{0} {x}") == "Il n'y a pas de réglage `{0} {x}`."
    assert _("100 % of {everything}") == "100 % of {everything}"


@pytest.mark.parametrize(
    ("spoken", "said"),
    [
        ("en", ["0 jobs in a", "1 job in a", "2 jobs in a"]),
        ("fr", ["0 tâche à a", "1 tâche à a", "2 tâches à a"]),
    ],
)
def test_a_number_of_things_is_singular_where_the_language_has_it_so(
    french: Catalogues, spoken: str, said: list[str]
) -> None:
    with speaking(spoken):
        assert said == [
            counted("{n} job in {place}", "{n} jobs in {place}", n, place="a") for n in (0, 1, 2)
        ]


def test_numbers_have_the_decimals_that_they_have_or_as_many_as_asked_for(
    french: Catalogues,
) -> None:
    values = [(0, None), (1024, None), (3.5, None), (0.1 + 0.2, None), (2.0, None), (1234.567, 1)]
    said = [number(value, digits) for value, digits in values]
    assert said == ["0", "1024", "3.5", "0.3", "2", "1234.6"]
    with speaking("fr"):
        said = [number(value, digits) for value, digits in values]
        assert said == ["0", "1024", "3,5", "0,3", "2", "1234,6"]
        assert (percent(0.725), percent(1)) == ("72 %", "100 %")
    assert (percent(0.725), percent(1)) == ("72 %", "100 %")


def test_several_things_are_joined_as_the_language_does(french: Catalogues) -> None:
    assert [listed("abc"[:n], "or") for n in (1, 2, 3)] == ["a", "a or b", "a, b or c"]
    with speaking("fr"):
        assert (listed("abc"), listed("abc", "or")) == ("a, b et c", "a, b ou c")


# What people read goes through `_` or `counted`, so that it can be translated: what is given for
# these arguments, by how the name of what takes them ends, is no constant of the source itself.

SHOWN = {
    ("", "content"),
    ("", "label"),
    ("", "placeholder"),
    ("Embed", "title"),
    ("Embed", "description"),
    ("SelectOption", "description"),
    ("Label", "text"),
    ("Label", "description"),
    ("__init__", "title"),
    ("set_footer", "text"),
    ("add_field", "name"),
    ("add_field", "value"),
}
SHOWN_FIRST = (
    *("send", "send_message", "TextDisplay", "Section"),
    *("Refused", "RequestError", "UnusableImage", "JobError", "OutOfMemory"),
)
SHOWN_SECOND = ("Refused", "RequestError", "UnusableImage", "OutOfMemory")

ELSEWHERE = {"playground", "__main__.py", "serving.py", "benchmark.py", "prepare.py"}
"""What is no part of the bot on Discord, but of its command line."""

LETTERS = ("**", "`", "<t:", ":R>", ":f>")


def modules() -> list[Path]:
    found = sorted(BOT.rglob("*.py"))
    return [each for each in found if not ELSEWHERE & set(each.relative_to(BOT).parts)]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(BOT)))
def test_what_people_read_can_be_translated(path: Path) -> None:
    assert list(unspoken(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('await channel.send("Hello there")', ["Hello there"]),
        ('await channel.send(f"{n} jobs wait")', [" jobs wait"]),
        ('await message.edit(content="Done." if done else _("Not yet."))', ["Done."]),
        ('Button(label=f"Turn {verb}")', ["Turn "]),
        ('Button[Any](label=text or "Back")', ["Back"]),
        ('LATE = N_("Too late.")\nRefused(LATE, _("Ask again."))', ["LATE"]),
        ('LATE = N_("Too late.")\nRefused(_(LATE), "Ask again.")', ["Ask again."]),
        ('Embed(title="A" + _("b"), description="**" + x + "**")', []),
        ('await channel.send(counted("{n} job", "{n} jobs", n))', []),
        ('Button(label=f"{number} · <t:{at}:R>", custom_id="settings:x")', []),
        ('_log.info("the bot is connected")', []),
    ],
)
def test_a_text_that_cannot_be_translated_is_found(source: str, found: list[str]) -> None:
    assert list(unspoken(source)) == found


def unspoken(source: str) -> Iterator[str]:
    """Yield what a module shows people as it stands in its source."""
    tree = ast.parse(source)
    marked = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and name(node.value.func) == "N_"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for argument in shown(node):
                yield from words(argument, marked)


def shown(call: ast.Call) -> Iterator[ast.expr]:
    """Yield the arguments of a call that people read."""
    called = name(call.func)
    for keyword in call.keywords:
        if any(called.endswith(end) and keyword.arg == argument for end, argument in SHOWN):
            yield keyword.value
    if called in SHOWN_FIRST:
        yield from call.args[:1]
    if called in SHOWN_SECOND:
        yield from call.args[1:2]


def name(called: ast.expr) -> str:
    """Return the last name of what is called."""
    match called:
        case ast.Attribute(attr=last) | ast.Name(id=last):
            return last
        case ast.Subscript(value=value):
            return name(value)
        case _:
            return ""


def words(shown: ast.expr, marked: set[str]) -> Iterator[str]:
    """Yield the words of an expression that are not marked, and constants that are marked only."""
    match shown:
        case ast.Constant(value=str(text)):
            for sign in LETTERS:
                text = text.replace(sign, "")
            if any(each.isalpha() for each in text) and len(text) > 1:
                yield str(shown.value)
        case ast.Name(id=constant) if constant in marked:
            yield constant
        case ast.JoinedStr(values=parts) | ast.BoolOp(values=parts):
            for part in parts:
                yield from words(part, marked)
        case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
            yield from words(one, marked)
            yield from words(other, marked)
