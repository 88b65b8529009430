"""What the moderators of a server do not want in prompts: words, phrases and patterns.

Neither side is trusted. Members write around a word: in full-width or Cyrillic letters, with marks
and invisible characters, letter by letter. So a prompt and a word are compared by how they look,
not by how they are stored. Moderators write patterns: these run on RE2, whose time grows only with
the length of a text, and which gets little memory, so that no pattern holds up the bot for long.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Literal

import re2

from bot.errors import RequestError
from bot.i18n import N_, _, counted, number

MAX_ENTRIES = 200
"""Words, and patterns, of one server."""

MAX_LENGTH = 200
"""Characters of one word or pattern."""

PATTERN_MEMORY = 2**15
"""Bytes for one pattern: a program of some 2,000 instructions."""

PATTERNS_MEMORY = 3 * 2**18
"""Bytes for all patterns of a server together: 200 of them may have 50 instructions each, and
`\\b(nude|naked)\\s+(child|kid)s?\\b` has 40. With the worst that were found to fit, a prompt of
2,000 characters takes one or two seconds."""

PATTERN_ADVICE = {
    "invalid perl operator": N_("Look-around and other extensions of Perl are not supported here."),
    "invalid escape sequence": N_("Back references and some other escapes are not supported here."),
    "invalid repetition size": N_("Repeat at most 1000 times, counted through all levels."),
    "pattern too large": N_("It would need too much memory: repeat less, or block words instead."),
}
"""What to try, by how RE2's own words begin."""
OTHER_ADVICE = N_("See github.com/google/re2/wiki/Syntax.")

DEAF_BOUNDARY = re.compile(r"\\b[^\x00-\x7f]|[^\x00-\x7f]\\b")

ALPHABETIC = frozenset({"LATIN", "GREEK", "CYRILLIC"})

UNMARKED = ALPHABETIC | {"ARABIC", "HEBREW"}
"""Scripts in which a word without its marks is read as the same: accents, stress, vowel points. In
others marks are part of the word, as the vowels of Thai and Hindi are."""

MARKED_LETTERS = frozenset("йїўѓќ")
"""Letters of their own in Cyrillic alphabets. ё is not among them: it is written е as often."""

UNSPACED = frozenset(
    {"CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "BOPOMOFO"}
    | {"THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN"}
)
"""Scripts that set no spaces between words."""

BLANKS = frozenset("\u115f\u1160\u2800")
"""Letters and signs that leave a gap and show nothing."""

HIDDEN = frozenset({"Cc", "Cf", "Cs"})
"""Categories of what shows nothing: zero-width and bidirectional controls, halves of characters."""

TATWEEL = "\u0640"
"""Draws an Arabic word out, and says nothing."""

FANCY_LETTER = re.compile(
    r"(?:LATIN LETTER SMALL CAPITAL|NEGATIVE (?:SQUARED|CIRCLED) LATIN CAPITAL LETTER) ([A-Z])"
)
EMOJI_LETTER = re.compile(r"REGIONAL INDICATOR SYMBOL LETTER ([A-Z])")
"""Of flags, and of words that are set in Discord's letter emoji."""

# Look-alikes are read as each other only in words that mix scripts: hardly an honest word does, and
# an honest Russian or Greek word stays what it is, even one of look-alikes alone (сор, ρον). Digits
# and signs for letters (b0mb, @ss) are not read at all: names, sizes and prices are full of them.
CYRILLIC = dict(zip("авсеһнікмортухѕјԁԛԝ", "abcehhikmoptyxsjdqw", strict=True))
GREEK = dict(zip("αβεζηικμνορτυχω", "abeznikuvoptuxw", strict=True))
GREEK_CAPITALS = GREEK | dict(zip("ημνυ", "hmny", strict=True))


def _into(script: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Return what reads Latin look-alikes, and those of another script, as letters of a script."""
    own = {latin: letter for letter, latin in script.items()}
    return own | {letter: own[latin] for letter, latin in other.items() if latin in own}


READINGS = tuple(
    str.maketrans(table)
    for table in (
        CYRILLIC | GREEK,
        CYRILLIC | GREEK_CAPITALS,
        _into(CYRILLIC, GREEK),
        _into(GREEK, CYRILLIC),
    )
)
"""As what a word that mixes scripts may be meant to be read; first of all, as Latin."""

# Around each word of a text that is searched; no text holds them once it is normalised.
BEGIN, END = "\x01", "\x02"

LETTER = rf"{BEGIN}[^\W\d_]{END}"
SPELLED = re.compile(rf"{LETTER}([^{BEGIN}{END}]{{1,2}}){LETTER}(?:\1{LETTER})+")
"""Three letters or more that stand alone, with the same sign or two between them."""

ONE_LETTER_WORDS = frozenset("aioавикосуя")
"""They may stand before a word that is spelled out: "a b o m b" is no abomb."""


def normalised(text: str) -> str:
    """Return text as it is compared: NFKC, case-folded, without what cannot be seen."""
    return _readings(text)[0]


def check_word(text: str) -> str:
    """Return a word or phrase with single spaces; raise RequestError if it is empty or too long."""
    word = " ".join(text.split())
    if len(word) > MAX_LENGTH:
        raise RequestError(
            counted(
                "The word has {n} character, but at most {most} are kept.",
                "The word has {n} characters, but at most {most} are kept.",
                len(word),
                most=number(MAX_LENGTH),
            ),
            _("Shorten it."),
        )
    if not _form(word):
        raise RequestError(_("The word is empty."), _("Write a word or a phrase."))
    return word


def check_pattern(pattern: str) -> str:
    """Return a pattern as it is; raise RequestError if RE2 cannot search with it at little cost."""
    if not pattern.strip():
        raise RequestError(_("The pattern is empty."), _("Write a pattern."))
    if len(pattern) > MAX_LENGTH:
        raise RequestError(
            counted(
                "The pattern has {n} character, but at most {most} are kept.",
                "The pattern has {n} characters, but at most {most} are kept.",
                len(pattern),
                most=number(MAX_LENGTH),
            ),
            _("Shorten it."),
        )
    if DEAF_BOUNDARY.search(pattern):
        raise RequestError(
            _("`\\b` knows only the letters a to z, so this pattern would find nothing."),
            _("Leave it out, or block a word instead: words end by the rules of their script."),
        )
    try:
        compiled = re2.compile(_encoded(pattern), _options(PATTERN_MEMORY))
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        kind = reason.partition(":")[0].partition(" -")[0]
        advice = _(PATTERN_ADVICE.get(kind, OTHER_ADVICE))
        problem = _("The pattern cannot be used: {reason}.", reason=reason)
        raise RequestError(problem, advice) from error
    if compiled.search(b""):
        raise RequestError(
            _("The pattern fits where there is nothing, and would block every prompt."),
            _("Say what has to be there."),
        )
    return pattern


class Blocklist:
    """The words and patterns of one server, compiled once."""

    def __init__(self, words: Iterable[str], patterns: Iterable[str]) -> None:
        """Raise RequestError if one cannot be used, or if there are too many together."""
        words, self._patterns = tuple(words), tuple(patterns)
        _check_number(words, self._patterns)
        self._words = {_form(check_word(word)): word for word in words}
        self._spelled = {_letters(form): word for form, word in self._words.items()}
        self._set = re2.Set.SearchSet(_options(PATTERNS_MEMORY))
        for pattern in self._patterns:
            self._set.Add(_encoded(check_pattern(pattern)))
        try:
            self._set.Compile()
        except re2.error as error:
            raise RequestError(
                _("The patterns of this server would need too much memory together."),
                _("Remove one, or repeat less in them."),
            ) from error

    def find(self, prompt: str) -> str | None:
        """Return the word or pattern that a prompt holds, as the moderator wrote it; None if none.

        This takes some 2 ms; a second or two where patterns and prompt are made up to be slow. In a
        thread, that holds nobody up: RE2 lets go of Python's lock.
        """
        readings = _readings(prompt)
        return self._word_in(readings) or self._pattern_in(readings[0], prompt)

    def _word_in(self, readings: Iterable[str]) -> str | None:
        for text in map(_marked, readings):
            for form, word in self._words.items():
                if form in text:
                    return word
            for letters in _spelled_out(text):
                if letters in self._spelled:
                    return self._spelled[letters]
        return None

    def _pattern_in(self, *texts: str) -> str | None:
        if not self._patterns:
            return None
        for text in texts:
            found: list[int] = self._set.Match(_encoded(text)) or []
            if found:
                return self._patterns[min(found)]
        return None


def _check_number(words: tuple[str, ...], patterns: tuple[str, ...]) -> None:
    if len(words) > MAX_ENTRIES:
        problem = counted(
            "There would be {n} word, but a server keeps at most {most}.",
            "There would be {n} words, but a server keeps at most {most}.",
            len(words),
            most=number(MAX_ENTRIES),
        )
        raise RequestError(problem, _("Remove one first."))
    if len(patterns) > MAX_ENTRIES:
        problem = counted(
            "There would be {n} pattern, but a server keeps at most {most}.",
            "There would be {n} patterns, but a server keeps at most {most}.",
            len(patterns),
            most=number(MAX_ENTRIES),
        )
        raise RequestError(problem, _("Remove one first."))


def _options(memory: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = memory
    options.case_sensitive = False
    options.log_errors = False
    return options


def _encoded(text: str) -> bytes:
    """Return text for RE2; JSON can bring halves of characters, for which UTF-8 has no bytes."""
    return text.encode(errors="replace")


def _readings(text: str) -> tuple[str, ...]:
    """Return text as it is compared, in all ways in which words that mix scripts may be read."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(_unmarked("".join(map(_visible, folded))))
    plain = " ".join(unicodedata.normalize("NFC", seen).split())
    return tuple(dict.fromkeys(_unmixed(plain, table) for table in READINGS))


@lru_cache(maxsize=4096)
def _visible(char: str) -> str:
    """Return what is seen of a character: itself, a plain letter, a space or nothing."""
    if char.isspace() or char in BLANKS:
        return " "
    if char == TATWEEL or unicodedata.category(char) in HIDDEN:
        return ""
    name = unicodedata.name(char, "")
    if letter := FANCY_LETTER.fullmatch(name):
        return letter[1].lower()
    if letter := EMOJI_LETTER.fullmatch(name):
        return f" {letter[1].lower()} "
    return char


def _unmarked(text: str) -> Iterator[str]:
    """Yield the characters of a text, without the marks that do not make another letter."""
    script = ""
    for char in text:
        if not unicodedata.category(char).startswith("M"):
            script = _script(char)
            yield _bare(char)
        elif script == _script(char) and script not in UNMARKED:
            yield char


@lru_cache(maxsize=4096)
def _bare(char: str) -> str:
    if char in MARKED_LETTERS or _script(char) not in UNMARKED:
        return char
    return unicodedata.normalize("NFD", char)[0]


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    """Return the script of a letter or mark, with which the name begins that Unicode gives it."""
    return re.split("[ -]", unicodedata.name(char, ""), maxsplit=1)[0]


def _unmixed(text: str, table: Mapping[int, str]) -> str:
    """Return text in which the words that mix scripts are read by a table of look-alikes."""
    if not _mixed(text):
        return text
    return re.sub(
        r"\w+", lambda word: word[0].translate(table) if _mixed(word[0]) else word[0], text
    )


def _mixed(text: str) -> bool:
    return not text.isascii() and len(ALPHABETIC & set(map(_script, set(text)))) > 1


def _marked(text: str) -> str:
    """Return text with a mark at both ends of each word, and what joins words as one space.

    A word is then found whole by a search for a piece of text, of which 200 take a third of a
    millisecond.
    """
    pieces = ((kind, "".join(run)) for kind, run in groupby(text, _kind))
    return "".join(
        {"word": f"{BEGIN}{piece}{END}", "joint": " ", "other": piece}[kind]
        for kind, piece in pieces
    )


@lru_cache(maxsize=4096)
def _kind(char: str) -> Literal["word", "joint", "other"]:
    """Return what a character is to words; where no spaces are set, words match anywhere."""
    category = unicodedata.category(char)
    if category[0] in "LMN":
        return "other" if _script(char) in UNSPACED else "word"
    if category in ("Zs", "Pd", "Pc") or char in "'’":
        return "joint"
    return "other"


def _form(word: str) -> str:
    """Return what is searched for a word; empty if nothing of it can be found."""
    return _marked(normalised(word)).strip(" ")


def _letters(form: str) -> str:
    return form.replace(BEGIN, "").replace(END, "").replace(" ", "")


def _spelled_out(text: str) -> Iterator[str]:
    """Yield what single letters spell, each time whole: in "c l a s s" nobody reads its end."""
    start = 0
    while run := SPELLED.search(text, start):
        letters = run[0][len(BEGIN) :: len(BEGIN) + 1 + len(END) + len(run[1])]
        for word in {_unmixed(letters, table) for table in READINGS}:
            yield word
            if word[0] in ONE_LETTER_WORDS and len(word) > 3:
                yield word[1:]
        start = run.end() - len(BEGIN) - 1 - len(END)  # its last letter may begin another
