"""Words and patterns that moderators block are found however they are written, and nothing else."""

from __future__ import annotations

import asyncio
import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.errors import RequestError
from bot.inference.requests import MAX_PROMPT
from bot.words import MAX_ENTRIES, MAX_LENGTH, Blocklist, check_pattern, check_word, normalised

# a slow machine is no defect
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

HOSTILE_LENGTH = 6000

ANY_CHARACTERS = st.characters()
"""Halves of characters too, which JSON can bring and UTF-8 has no bytes for."""

TRICKY_CHARACTERS = st.sampled_from(
    "aAbmoOsS ıİßſ Σςση ВОМвом йёї ΒΟΜβομ ﷺﬁ カ\u3099が 色情 กิ 가\u1100\u1161\u11a8 🅱🇧 \t_-.'’+"
    "\u0301\u0306\u0308\u0323\u0345\u034f\u0640\u0645\u064e\u200b\u200d\u202e\ufe0f\x00\x01\x02\ud800"
)

TEXTS = st.text(ANY_CHARACTERS) | st.text(TRICKY_CHARACTERS)


def found(word: str, prompt: str) -> bool:
    return Blocklist([word], []).find(prompt) == word


def matched(pattern: str, prompt: str) -> bool:
    return Blocklist([], [pattern]).find(prompt) == pattern


@pytest.mark.parametrize(
    "prompt",
    [
        "bomb",
        "a BOMB, please",
        "(bomb)",
        "bomb's",
        "a bomb_shelter",  # as the tags of picture models are written
        "a bomb-shelter",
        "\u201cbomb\u201d",
        "one\nbomb\ttwo",
    ],
)
def test_a_word_is_found_between_whatever_ends_words(prompt: str) -> None:
    assert found("bomb", prompt)


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("ass", "a class of glass"),
        ("ass", "assassin"),
        ("con", "conscience, balcon"),
        ("бомба", "бомбардир"),
        ("18", "1800 and 2018"),
        ("18+", "18 people"),
        ("red light", "red, light"),
        ("кот", "который скот"),
    ],
)
def test_a_part_of_another_word_is_no_hit(word: str, prompt: str) -> None:
    assert not found(word, prompt)


@pytest.mark.parametrize(
    "prompt",
    ["red light", "red  \n light", "RED\u00a0LIGHT", "red-light", "red_light", "red\u2014light"],
)
def test_a_phrase_is_found_over_any_white_space_and_what_joins_words(prompt: str) -> None:
    assert found("red light", f"the {prompt} district")
    assert found("Red-Light", f"the {prompt} district")


@pytest.mark.parametrize("word", ["18+", "c++", "@everyone", "🍆", "don't", ":-)"])
def test_words_may_hold_signs(word: str) -> None:
    assert found(word, f"see {word}, and go")


def test_it_says_what_the_moderator_wrote() -> None:
    blocklist = Blocklist(["Café  Noir"], ["N.de"])
    assert blocklist.find("in the CAFE NOIR") == "Café  Noir"
    assert blocklist.find("the NUDE") == "N.de"
    assert blocklist.find("a cat in the rain") is None


@pytest.mark.parametrize(
    "prompt",
    [
        "ｂｏｍｂ",
        "Ｂomb",
        "𝐛𝓸𝖒𝕓",
        "ⓑⓞⓜⓑ",
        "🅱omb",
        "ʙᴏᴍʙ",
        "🇧🇴🇲🇧",
        "🇧 🇴 🇲 🇧",
        "bomb🇺🇸",
        "b\u200bo\u200dm\u200cb",
        "b\u2060o\ufeffm\u00adb",
        "\u202ebomb\u202c",
        "b\u202eo\u2066m\u2069b",
        "b\ufe0fo\U000e0100mb",
        "b\U000e0061omb",
        "b\u0000o\u0007mb",
        "b\ud800omb",
        "b\u0336o\u0336m\u0336b\u0336",
        "bo\u0301\u0302\u0303\u0304\u0305\u0306mb",
        "bo\u20ddmb",
        "bo\u0e49mb",
        "böṃḅ",
        "bоmb",  # Cyrillic о
        "ЬВomb ВОМb",  # all but the last letter
        "bοmb",  # Greek ο
        "BOΜB",  # Greek capital Μ, whose small letter looks like u
        "b\u3164o\u3164m\u3164b",
    ],
)
def test_disguises_of_a_word_are_found(prompt: str) -> None:
    assert found("bomb", prompt)
    assert found("bomb", f"paint a {prompt} in the sky")


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("бомба", "бoмбa"),  # Latin o, a
        ("кот", "кoт"),  # could be read as the Latin kot just as well
        ("сука", "CYКA"),
        ("бомба", "бοмба"),  # Greek ο
        ("бомба", "бо\u0301мба"),
        ("ёлка", "елка"),
        ("μουνι", "μoυvί"),  # Latin o, v
        ("قنبلة", "قنـــبلة"),
        ("قنبلة", "قُنْبُلَة"),
    ],
)
def test_disguises_of_words_in_other_alphabets_are_found(word: str, prompt: str) -> None:
    assert found(word, f"x {prompt} y")


@pytest.mark.parametrize(
    "prompt",
    [
        "b o m b",
        "b.o.m.b",
        "B-O-M-B",
        "b_o_m_b",
        "b*o*m*b",
        "b, o, m, b",
        "b💣o💣m💣b",
        "b о m b",  # Cyrillic о
        "draw a b o m b",
        "I draw a b.o.m.b now",
        "x y b.o.m.b",
        "a b o m b!",
    ],
)
def test_a_word_spelled_out_letter_by_letter_is_found(prompt: str) -> None:
    assert found("bomb", prompt)


def test_a_phrase_spelled_out_is_found() -> None:
    assert found("red light", "r e d l i g h t")
    assert found("red-light", "r.e.d.l.i.g.h.t")


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("ass", "C L A S S I C"),
        ("ass", "c.l.a.s.s"),
        ("the", "A E S T H E T I C"),
        ("as", "a, s"),
        ("mp", "i m p"),
        ("abc", "plan a: b is better than c"),
        ("ussr", "U.S., S.R."),
        ("jam", "J. Am"),
        ("ana", "a n+a"),
        ("911", "9.1.1"),
        ("色情", "景色。情人"),
    ],
)
def test_single_letters_in_ordinary_text_are_no_hit(word: str, prompt: str) -> None:
    assert not found(word, prompt)


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("色情", "一张色情图片"),
        ("炸弹", "画一个炸弹。"),
        ("爆弾", "これは爆弾です"),
        ("ばくだん", "ばくだんを描く"),
        ("バクダン", "ﾊﾞｸﾀﾞﾝを描く"),
        ("ระเบิด", "วาดระเบิดลูกใหญ่"),
        ("a片", "看A片吧"),
    ],
)
def test_words_of_scripts_without_spaces_are_found_inside_a_text(word: str, prompt: str) -> None:
    assert found(word, prompt)


def test_letters_and_marks_of_those_scripts_still_matter() -> None:
    assert not found("が", "か")
    assert not found("ระเบิด", "ระเบียบ")
    assert not found("a片", "banana片")


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("cop", "мусор и сор в углу"),  # сор is Cyrillic alone
        ("pot", "у него большой рот"),
        ("мой", "мои друзья"),
        ("pov", "το ρον"),
        ("kai", "γάτα και σκύλος"),
        ("con", "la façon dont le balcon est conçu, un maçon"),
        ("cul", "calcul d'un véhicule ridicule"),
        ("sik", "sık sık yağmur yağar"),  # Turkish: often
        ("am", "akşam yemeği, tamam"),
        ("情", "天气很好，阳光明媚"),
        ("कम", "कमल का फूल"),
        ("क", "कि"),
    ],
)
def test_honest_text_is_no_hit(word: str, prompt: str) -> None:
    assert not found(word, prompt)


@pytest.mark.parametrize(
    "text",
    ["кошка под дождём и мой дом", "σπιτι στη θαλασσα", "ağaç ve ışık", "雨中女子的肖像", "กิน"],
)
def test_honest_words_keep_their_letters(text: str) -> None:
    marks = str.maketrans({"ё": "е", "ğ": "g", "ç": "c", "ş": "s", "ς": "σ"})
    assert normalised(text) == text.translate(marks)


def test_text_is_compared_without_case_marks_and_what_cannot_be_seen() -> None:
    assert normalised("  Ｔhé \u200b STRASSE\n\u202eÑandú ") == "the strasse nandu"
    assert normalised("Straße ﬁn") == "strasse fin"
    assert normalised("\u200b\u202e\ufe0f") == ""


@pytest.mark.parametrize("word", ["", "  ", "\u200b", "\u3164", "\u0301", "-", "_ '"])
def test_a_word_of_nothing_is_refused(word: str) -> None:
    with pytest.raises(RequestError, match=r"^The word is empty\. Write a word"):
        check_word(word)


def test_a_word_is_kept_as_written_with_single_spaces() -> None:
    assert check_word("  Red \n Light ") == "Red Light"


def test_words_and_patterns_have_a_length_and_a_number() -> None:
    longest = "x" * MAX_LENGTH
    assert check_word(longest) == check_pattern(longest) == longest
    with pytest.raises(RequestError, match="has 201 characters, but at most 200"):
        check_word(longest + "x")
    with pytest.raises(RequestError, match="has 201 characters, but at most 200"):
        check_pattern(longest + "x")
    many = [f"word{n}" for n in range(MAX_ENTRIES)]
    Blocklist(many, many)
    with pytest.raises(RequestError, match="201 words, but a server keeps at most 200"):
        Blocklist([*many, "more"], [])
    with pytest.raises(RequestError, match="201 patterns, but a server keeps at most 200"):
        Blocklist([], [*many, "more"])


@pytest.mark.parametrize(
    ("pattern", "reason", "advice"),
    [
        ("", "is empty", "Write a pattern"),
        (" ", "is empty", "Write a pattern"),
        ("(a", "missing ): (a", "google/re2"),
        ("a)", "unexpected ): a)", "google/re2"),
        ("[a", "missing ]: [a", "google/re2"),
        ("*a", "no argument for repetition operator: *", "google/re2"),
        ("a\\", "trailing \\", "google/re2"),
        ("a++", "bad repetition operator: ++", "google/re2"),
        (r"(a)\1", "invalid escape sequence: \\1", "Back references"),
        (r"(?P<n>a)(?P=n)", "invalid perl operator: (?P", "Perl"),
        ("(?=a)b", "invalid perl operator: (?=", "Look-around"),
        ("(?!a)b", "invalid perl operator: (?!", "Look-around"),
        ("(?<=a)b", "invalid perl operator: (?<", "Look-around"),
        ("(?<!a)b", "invalid perl operator: (?<", "Look-around"),
        ("(?>a+)b", "invalid perl operator: (?>", "Perl"),
        ("(?R)", "invalid perl operator: (?R", "Perl"),
        ("((a{1,1000}){1,1000})", "invalid repetition size: {1,1000}", "at most 1000"),
        ("(((a{30}){30}){30}){30}", "invalid repetition size: {30}", "at most 1000"),
        ("a{1001}", "invalid repetition size: {1001}", "at most 1000"),
        (".{1000}x{1000}", "pattern too large - compile failed", "repeat less"),
        (r"\pL{100}", "pattern too large - compile failed", "repeat less"),
        (r"\bбомба\b", r"`\b` knows only the letters a to z", "block a word"),
        ("a*", "fits where there is nothing", "Say what has to be there"),
        ("(nude|)", "fits where there is nothing", "Say what has to be there"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused_in_words(
    pattern: str, reason: str, advice: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(reason)) as caught:
        check_pattern(pattern)
    problem, what_to_try = caught.value.args
    assert problem.startswith("The pattern ") or problem.startswith("`\\b`")
    assert advice in what_to_try
    assert str(caught.value).endswith(".")
    with pytest.raises(RequestError):
        Blocklist([], [pattern])


def test_a_pattern_is_searched_in_the_prompt_as_it_is_and_as_it_looks() -> None:
    assert matched(r"nud(e|ity)", "NUDITY")
    assert matched(r"\bnud(e|ity)\b", "n\u200bu\u0301dｅ")
    assert matched(r"\bbomb\b", "bоmb")  # Cyrillic о
    assert matched("[\u200b-\u200f]", "a zero\u200bwidth space")
    assert matched("É", "né")
    assert matched(r"\pL+\s+бомб", "Большая бомба")
    assert not matched(r"^nude", "a nude")


def test_the_first_of_several_patterns_is_named() -> None:
    assert Blocklist([], ["c", "a.*c", "b"]).find("a b c") == "c"


HOSTILE_PATTERNS = [
    "(a+)+$",
    "(a|aa)+$",
    "(a|a?)+b",
    "([a-zA-Z]+)*[$]x",
    "(.*)*x",
    "(.*a){20}z",
    "(a?){100}(a){100}x",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(?:a|b)*a(?:a|b){200}c",
    "(x+x+)+y",
    r"^(\d+)*y$",
    r"(\s|\w)*\s+zz$",
    "|".join("a" * n + "b" for n in range(1, 18)),
    ".*" * 40 + "x[!]",
    r"\pL+$9",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", HOSTILE_PATTERNS)
def test_no_pattern_takes_long_with_a_hostile_prompt(pattern: str) -> None:
    """With Python's own `re`, most of these would run for longer than anybody lives."""
    blocklist = Blocklist([], [pattern])
    for unit in ("a", "ab", "a ", "aab", "x", "0", "💣", "色"):
        prompt = (unit * HOSTILE_LENGTH)[: HOSTILE_LENGTH - 1] + "!"
        assert blocklist.find(prompt) in (None, pattern)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "words",
    [
        ["a" * n + "b" for n in range(1, 200)],
        ["b" + "a" * n for n in range(1, 200)],
        ["色" * n + "情" + "色" * n for n in range(1, 100)],
        [" ".join("ab" * n) + " c" for n in range(1, 50)],
    ],
    ids=["late", "early", "in the middle", "spelled out"],
)
def test_no_words_take_long_with_a_hostile_prompt(words: list[str]) -> None:
    blocklist = Blocklist(words, [])
    for unit in ("a", "色", "a b ", "a.b,", "ﷺ", "bо", "\u0301\u0316"):
        assert blocklist.find(("x" + unit * HOSTILE_LENGTH)[:HOSTILE_LENGTH]) is None


def explosive(number: int) -> list[str]:
    """Return patterns that each keep hundreds of places in mind, as costly as RE2 makes them."""
    return [f"(?:a|b)*a(?:a|b){{150}}c{n}" for n in range(number)]


def test_patterns_that_are_too_costly_together_are_refused() -> None:
    for pattern in explosive(MAX_ENTRIES):
        check_pattern(pattern)
    with pytest.raises(RequestError, match="would need too much memory together"):
        Blocklist([], explosive(MAX_ENTRIES))


async def test_the_bot_goes_on_while_the_costliest_patterns_are_searched_in_a_thread() -> None:
    draw = random.Random(0)
    prompt = "".join(draw.choices("ab", k=MAX_PROMPT))
    search = asyncio.create_task(asyncio.to_thread(Blocklist([], explosive(40)).find, prompt))
    turns = 0
    while not search.done():
        turns += 1
        await asyncio.sleep(0)
    assert await search is None
    assert turns > 1000


@given(TEXTS)
def test_what_is_normalised_stays_as_it_is(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once


@given(TEXTS)
def test_any_text_at_all_can_be_searched(text: str) -> None:
    blocklist = Blocklist(["bomb", "red light", "色情"], ["nud(e|ity)", "x{3}"])
    assert blocklist.find(text) in (None, "bomb", "red light", "色情", "nud(e|ity)", "x{3}")
    assert blocklist.find(f"{text} bomb") is not None


@given(TEXTS.map(lambda text: text[:MAX_LENGTH]))
def test_a_word_that_is_kept_is_found_between_others(word: str) -> None:
    try:
        word = check_word(word)
    except RequestError:
        return
    assert found(word, word)
    assert found(word, f"x {word} y")


@given(
    st.text(ANY_CHARACTERS, max_size=MAX_LENGTH) | st.text("a|b*(+?)[^]{1,}\\pLbw.$", max_size=40)
)
def test_a_pattern_is_refused_in_words_or_can_be_searched(pattern: str) -> None:
    try:
        check_pattern(pattern)
    except RequestError:
        return
    assert Blocklist([], [pattern]).find("a b " * 500) in (None, pattern)
