"""Phrases: what people call a part of a scene, and which part of it they mean."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from .captions import (
    ADJECTIVES,
    POSITION_PHRASES,
    SIZE_WORDS,
    babble,
    colour_word,
    shape_noun,
    with_article,
)
from .scenes import CANVAS, COLOUR_NAMES, SHAPES, Item, Scene

PARTS = 3
"""The background, the farther object and the nearer one, as `Drawing.objects` counts them."""
NOTHING = (False,) * PARTS

THINGS = ("shape", "object", "thing", "figure", "one")
STRANGE_NOUNS = (
    *("dog", "cat", "car", "house", "tree", "face", "man", "woman", "sky", "sea", "sun", "moon"),
    *("bird", "boat", "table", "chair", "apple", "flower", "bottle", "window", "door", "hand"),
    *("person", "shirt", "hair", "shoe", "book", "lamp", "cup", "horse", "road", "mountain"),
)
"""What no scene has."""

OPENINGS_OF_SEVERAL = ("the", "the", "", "all the", "both", "these")
OPENINGS = ("the", "the", "the", "the", "a", "a", "", "", "this", "that", "my", "only the")
EDGE = 0.4 * CANVAS
"""Up to here from a side, in pixels, an object is at it."""


@dataclass(frozen=True, kw_only=True)
class Phrase:
    """Words, and whether each part of the scene is meant: the background, then its objects."""

    words: str
    meant: tuple[bool, ...]

    @property
    def is_absent(self) -> bool:
        """Whether nothing in the scene is meant."""
        return not any(self.meant)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is said of an object; None is left unsaid."""

    shape: str | None = None
    colour: str | None = None

    def fits(self, item: Item) -> bool:
        """Whether an object is of that kind."""
        return self.shape in (None, item.shape) and self.colour in (None, item.colour)


def sample_phrase(scene: Scene, rng: Random) -> Phrase:
    """A random phrase: three in five are of something that is there."""
    draw = rng.random()
    if draw < 0.06:
        return _background(scene, rng)
    if scene.items and draw < 0.6:
        return _present(scene, rng)
    if draw < 0.7:
        return Phrase(words=_strange(scene, rng), meant=NOTHING)
    return _absent(scene, rng)


def plain_phrases(scene: Scene) -> list[Phrase]:
    """The unadorned phrases for the objects of a scene, as people would type them first."""
    phrases = []
    for item in scene.items:
        for shape, colour in ((item.shape, item.colour), (item.shape, None)):
            description = Description(shape=shape, colour=colour)
            words = f"the {colour} {shape}" if colour else f"the {shape}"
            phrases.append(Phrase(words=words, meant=_meant(scene, description.fits)))
    return phrases


def plain_absences(scene: Scene) -> list[Phrase]:
    """The unadorned phrases for what a scene lacks: another colour, another shape, both."""
    phrases = []
    for item in scene.items:
        colours = [c for c in COLOUR_NAMES if c not in {scene.background, item.colour}]
        shape = SHAPES[(SHAPES.index(item.shape) + 3) % len(SHAPES)]
        colour = colours[(COLOUR_NAMES.index(item.colour) + 4) % len(colours)]
        for description in (
            Description(shape=item.shape, colour=colour),
            Description(shape=shape, colour=item.colour),
            Description(shape=shape, colour=colour),
        ):
            meant = _meant(scene, description.fits)
            if not any(meant):
                words = f"the {description.colour} {description.shape}"
                phrases.append(Phrase(words=words, meant=meant))
    return phrases


def _present(scene: Scene, rng: Random) -> Phrase:
    item = rng.choice(scene.items)
    draw = rng.random()
    if draw < 0.5:
        description = Description(shape=item.shape, colour=item.colour)
    elif draw < 0.75 or item.colour == scene.background:
        description = Description(shape=item.shape)
    else:
        description = Description(colour=item.colour)
    meant = _meant(scene, description.fits)
    alone = sum(meant) == 1
    size = rng.choice(SIZE_WORDS[item.size]) if alone and rng.random() < 0.25 else ""
    place = _place(item, rng) if alone and rng.random() < 0.15 else ""
    return Phrase(words=_put(description, rng, size, place), meant=meant)


def _absent(scene: Scene, rng: Random) -> Phrase:
    """A phrase for nothing that is there, most often close to something that is."""
    while True:
        other = Description(shape=rng.choice(SHAPES), colour=rng.choice(COLOUR_NAMES))
        one, two = (rng.choice(scene.items or (other,)) for _ in range(2))
        description = rng.choice(
            (
                other,
                Description(shape=one.shape, colour=other.colour),
                Description(shape=other.shape, colour=one.colour),
                Description(shape=one.shape, colour=two.colour),
                Description(shape=other.shape),
                Description(colour=other.colour),
            )
        )
        may_be_background = description == Description(colour=scene.background)
        if not may_be_background and not any(map(description.fits, scene.items)):
            size = rng.choice(SIZE_WORDS[rng.choice(tuple(SIZE_WORDS))])
            words = _put(description, rng, size if rng.random() < 0.15 else "", "")
            return Phrase(words=words, meant=NOTHING)


def _strange(scene: Scene, rng: Random) -> str:
    noun = rng.choice(STRANGE_NOUNS) if rng.random() < 0.5 else babble(rng)
    colours = [item.colour for item in scene.items] or [scene.background]
    colour = colour_word(rng.choice(colours), rng) if rng.random() < 0.3 else ""
    return _spaced(rng.choice(OPENINGS), colour, noun)


def _background(scene: Scene, rng: Random) -> Phrase:
    colour = colour_word(scene.background, rng) if rng.random() < 0.3 else ""
    words = _spaced("the" if rng.random() < 0.7 else "", colour, "background")
    return Phrase(words=words, meant=(True, *(False,) * (PARTS - 1)))


def _meant(scene: Scene, fits: Callable[[Item], bool]) -> tuple[bool, ...]:
    objects = [fits(item) for item in scene.back_to_front()]
    return (False, *objects, *(False,) * (PARTS - 1 - len(objects)))


def _put(description: Description, rng: Random, size: str, place: str) -> str:
    """One wording of a description; a colour alone may stand without a noun."""
    noun = shape_noun(description.shape, rng) if description.shape else rng.choice((*THINGS, ""))
    colour = colour_word(description.colour, rng) if description.colour else ""
    adjective = rng.choice(ADJECTIVES) if rng.random() < 0.05 else ""
    words = _spaced(adjective, size, colour, noun)
    if noun and rng.random() < 0.1:
        # of however many there are
        words = _spaced(
            rng.choice(OPENINGS_OF_SEVERAL), f"{words}{'es' if noun[-1] in 'sx' else 's'}"
        )
    else:
        opening = rng.choice(OPENINGS)
        words = with_article(words) if opening == "a" else _spaced(opening, words)
    words = _spaced(words, place)
    return words.capitalize() if rng.random() < 0.1 else words


def _place(item: Item, rng: Random) -> str:
    """Where an object is, if it is at one of the sides."""
    sides = [
        side
        for side, distance in (
            ("left", item.x),
            ("right", CANVAS - item.x),
            ("top", item.y),
            ("bottom", CANVAS - item.y),
        )
        if distance < EDGE
    ]
    return rng.choice(POSITION_PHRASES[rng.choice(sides)]) if sides else ""


def _spaced(*words: str) -> str:
    return " ".join(word for word in words if word)
