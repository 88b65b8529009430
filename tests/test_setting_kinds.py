"""The kinds of settings: what is typed, kept and shown is one value, or gets a sentence."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import RequestError
from bot.i18n import speaking
from bot.setting_kinds import (
    Ids,
    Kind,
    OneChannel,
    OneLanguage,
    OneOf,
    Several,
    Switch,
    Texts,
    Whole,
)
from bot.settings import CHANNELS, KEYS, ROLES
from bot.words import check_pattern, check_word
from tests.catalogues import Catalogues
from tests.setting_values import sentence, survives

ID = 123456789012345678
SNOWFLAKES = st.integers(10**14, 2**63 - 1)

WORDS = Texts("words", "words, or `none`", check_word, ",", 200)
PATTERNS = Texts("regular expressions", "patterns, or `none`", check_pattern, "\n", 200)
LETTERS = st.text("abcÄжn0-'` ", min_size=1, max_size=8) | st.sampled_from(["none", "None", "-"])
EXPRESSIONS = st.sampled_from(["a+", "none", " none ", "-", "x,y", "a b", "(a|b){2}", "`", "\\d"])

VALUES: list[tuple[Kind, st.SearchStrategy[Any]]] = [
    (Switch(), st.booleans()),
    (Whole(0, 3600, "seconds", zero="none"), st.integers(0, 3600)),
    (Whole(1, 50), st.integers(1, 50)),
    (OneOf(("8-bit", "None"), unset="the operator's"), st.sampled_from(["8-bit", "None", None])),
    (OneOf(("as asked", "never")), st.sampled_from(["as asked", "never"])),
    (OneLanguage(), st.sampled_from(["en", None])),
    (Several(("a", "b", "c")), st.lists(st.sampled_from("abc"), min_size=1)),
    (Ids(CHANNELS, "#"), st.lists(SNOWFLAKES, max_size=100)),
    (Ids(ROLES, "@&"), st.lists(SNOWFLAKES, max_size=100)),
    (OneChannel(), st.none() | SNOWFLAKES),
    (WORDS, st.lists(LETTERS, max_size=5)),
    (PATTERNS, st.lists(EXPRESSIONS, max_size=5)),
]


@given(st.data(), st.sampled_from(VALUES))
def test_every_value_survives_json_and_being_edited_as_text(
    data: st.DataObject, case: tuple[Kind, st.SearchStrategy[Any]]
) -> None:
    kind, values = case
    survives(kind, data.draw(values))


@pytest.mark.parametrize(
    ("kind", "typed", "value"),
    [
        (Switch(), " Yes ", True),
        (Switch(), "OFF", False),
        (Whole(1, 100, "jobs"), "20 jobs", 20),
        (Whole(1, 100, "jobs"), "1 job", 1),
        (Whole(1, 99, "%"), "80%", 80),
        (Whole(0, 9, "seconds", zero="no limit"), "No limit", 0),
        (Whole(0, 9, "seconds", zero="no limit"), "none", 0),
        (OneOf(("PNG", "WebP")), "webp", "WebP"),
        (OneOf(("8-bit",), unset="the operator's"), "The operator's", None),
        (Several(("dev", "fill", "redux")), "redux, dev", ("dev", "redux")),
        (Several(("dev", "fill")), "All", ("dev", "fill")),
        (Ids(CHANNELS, "#"), f"<#{ID}>, {ID + 1}\n<#{ID}>", (ID, ID + 1)),
        (Ids(CHANNELS, "#"), "", ()),
        (OneChannel(), f"<#{ID}>", ID),
        (OneChannel(), "-", None),
        (WORDS, "foo,  two   words ,, foo", ("foo", "two words")),
        (WORDS, "one\nin each line\n", ("one", "in each line")),
        (WORDS, "Nothing", ()),
        (PATTERNS, "a,b\n\nc", ("a,b", "c")),
    ],
)
def test_what_people_type_is_understood(kind: Kind, typed: str, value: object) -> None:
    assert kind.parse(typed) == value


@pytest.mark.parametrize(
    ("kind", "typed", "says"),
    [
        (Switch(), "maybe", "`maybe` is not a value for this. Allowed: on or off."),
        (Whole(1, 50), "51", "Allowed: a whole number from 1 to 50."),
        (Whole(1, 50), "9" * 5000, "`" + "9" * 60 + "…` is not a value"),
        (Whole(0, 9, "seconds", zero="none"), "-1", "from 0 to 9 seconds; 0: none."),
        (Whole(0, 9, "days"), "7 weeks", "`7 weeks` is not a value for this."),
        (OneOf(("a", "b")), "`c`", "`'c'` is not a value for this. Allowed: one of a, b."),
        (Several(("a", "b")), "", "Allowed: `all`, or some of a, b."),
        (Several(("a", "b")), "a c", "Allowed: `all`, or some of a, b."),
        (Ids(ROLES, "@&"), f"<#{ID}>", "Allowed: roles as mentions or ids"),
        (Ids(ROLES, "@&"), "@everyone", "Allowed: roles as mentions or ids"),
        (Ids(ROLES, "@&"), "9" * 20, "Allowed: roles as mentions or ids"),
        (Ids(ROLES, "@&"), " ".join(str(ID + n) for n in range(101)), "100 at most"),
        (OneChannel(), f"{ID} {ID + 1}", "a channel as a mention or id, or `none`"),
        (dataclasses.replace(WORDS, most=2), "a, b, c", "These are 3 words. Use 2 at most."),
        (WORDS, "fine, \u200b", "The word is empty."),
        (PATTERNS, "fine\n(", "The pattern cannot be used"),
    ],
)
def test_what_is_no_value_is_answered_with_what_would_be_one(
    kind: Kind, typed: str, says: str
) -> None:
    assert says in sentence(kind, typed)


HOSTILE = [None, True, 1.0, -1, 10**400, float("nan"), float("inf"), "x", "", [[]], [None]]
HOSTILE += [{}, {"a": []}, [1, 1], ["\ud800"], [10**30], ["a,b\nc"], [True]]


@pytest.mark.parametrize("kind", [kind for kind, _ in VALUES], ids=lambda kind: type(kind).__name__)
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
def test_whatever_a_file_holds_is_a_value_or_a_sentence(kind: Kind, value: Any) -> None:
    try:
        loaded = kind.load(value)
    except RequestError as error:
        said = str(error)
    else:
        said = kind.show(loaded)
        assert kind.load(kind.dump(loaded)) == loaded
    assert 0 < len(said) < 400


def test_a_value_that_is_nested_without_end_is_still_named_in_short() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(RequestError) as refused:
        Switch().load(nested)
    assert len(str(refused.value)) < 200


def test_texts_can_be_refused_together() -> None:
    def check_all(texts: tuple[str, ...]) -> None:
        if len("".join(texts)) > 5:
            raise RequestError("These are too much together.", "Remove one.")

    kind = dataclasses.replace(WORDS, check_all=check_all)
    assert kind.parse("abc, de") == ("abc", "de")
    assert sentence(kind, "abc, def") == "These are too much together. Remove one."


def test_words_are_shown_as_they_are_without_becoming_markup() -> None:
    assert WORDS.show(("**bold**", "a`b", "@everyone")) == "`**bold**`, `a'b`, `@everyone`"


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (Whole(0, 9, "days", zero="for ever"), 0, "for ever"),
        (Whole(0, 9, "days", zero="for ever"), 3, "3 days"),
        (Whole(0, 9, "days", zero="for ever"), 1, "1 day"),
        (Whole(1, 99, "%"), 50, "50 %"),
        (Several(("a", "b")), ("a", "b"), "all"),
        (Several(("a", "b")), ("b",), "b"),
        (Ids(ROLES, "@&"), (ID,), f"<@&{ID}>"),
        (Ids(ROLES, "@&"), (), "none"),
        (OneChannel(), ID, f"<#{ID}>"),
        (OneOf(("a",), unset="neither"), None, "neither"),
    ],
)
def test_values_are_shown_as_people_say_them(kind: Kind, value: object, shown: str) -> None:
    assert kind.show(value) == shown


def test_a_language_is_one_that_there_is_now_by_its_code_or_its_own_name(
    catalogues: Catalogues,
) -> None:
    kind = KEYS["language"].kind
    assert isinstance(kind, OneLanguage)
    assert kind.options == ("en",)
    assert sentence(kind, "fr") == (
        "`fr` is not a value for this. Allowed: one of each member's own, en."
    )
    catalogues.add("fr", {"all": "tout", "each member's own": "celle de chaque membre"})
    assert kind.options == ("en", "fr")
    assert kind.parse("FR") == kind.parse("français") == kind.load("fr") == "fr"
    assert kind.parse("each member's own") is None
    assert [kind.label(each) for each in kind.typed] == ["each member's own", "English", "français"]


def test_what_is_shown_is_translated_and_what_is_typed_is_not(catalogues: Catalogues) -> None:
    words = {"always": "toujours", "on": "activé", "off": "désactivé", "all": "tout"}
    words |= {"no limit": "sans limite", "none": "aucun"}
    catalogues.add("fr", words | {("{n} job", "{n} jobs"): ("{n} tâche", "{n} tâches")})
    cases: list[tuple[Kind, Any, str, str]] = [
        (Switch(), False, "désactivé", "off"),
        (OneOf(("always", "never")), "always", "toujours", "always"),
        (Several(("a", "b")), ("a", "b"), "tout", "all"),
        (Whole(0, 9, "seconds", zero="no limit"), 0, "sans limite", "0"),
        (Whole(0, 9, "jobs"), 0, "0 tâche", "0"),
        (Ids(ROLES, "@&"), (), "aucun", "none"),
        (OneChannel(), None, "aucun", "none"),
        (WORDS, (), "aucun", "none"),
    ]
    for kind, value, shown, typed in cases:
        with speaking("fr"):
            assert (kind.show(value), kind.edit(value)) == (shown, typed)
            assert kind.parse(typed) == value
        assert kind.parse(typed) == value


def test_what_is_offered_under_a_translated_name_may_be_typed_so_too(
    catalogues: Catalogues,
) -> None:
    # a language in which one word stands for another of ours: what is typed in English wins
    catalogues.add("fr", {"on": "activé", "all": "tout", "always": "never", "as asked": "libre"})
    with speaking("fr"):
        assert Switch().parse("Activé") is True
        assert Several(("a", "b")).parse("tout") == ("a", "b")
        assert OneOf(("as asked", "always", "never")).parse("libre") == "as asked"
        assert OneOf(("as asked", "always", "never")).parse("never") == "never"
