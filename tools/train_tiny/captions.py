"""Captions: what a person might type for a scene, in many wordings."""

from random import Random

from .scenes import Item, Scene

SHAPE_NOUNS = {
    "circle": ("circle", "circle", "circle", "disc", "ball"),
    "square": ("square", "square", "square", "box"),
    "triangle": ("triangle",),
    "star": ("star",),
    "ring": ("ring", "ring", "donut"),
    "heart": ("heart",),
    "cross": ("cross", "cross", "plus sign"),
}
COLOUR_WORDS = {
    "gray": ("gray", "grey"),
    "cyan": ("cyan", "cyan", "turquoise", "light blue"),
    "purple": ("purple", "purple", "violet"),
}
SIZE_WORDS = {
    "small": ("small", "small", "small", "little", "tiny"),
    "medium": ("medium", "medium", "medium sized"),
    "large": ("large", "large", "large", "big", "huge"),
    "": ("",),
}
POSITION_PHRASES = {
    "center": ("in the center", "in the middle", "in the centre", "centered"),
    "left": ("on the left", "on the left side", "to the left"),
    "right": ("on the right", "on the right side", "to the right"),
    "top": ("at the top", "near the top"),
    "bottom": ("at the bottom", "near the bottom"),
    "top left corner": ("in the top left corner", "in the upper left corner", "top left"),
    "top right corner": ("in the top right corner", "in the upper right corner", "top right"),
    "bottom left corner": ("in the bottom left corner", "in the lower left corner", "bottom left"),
    "bottom right corner": (
        "in the bottom right corner",
        "in the lower right corner",
        "bottom right",
    ),
}
RELATION_PHRASES = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under"),
    "and": ("and", "and", "next to", "beside"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
OPENINGS = (
    *("", "", "", "", "", "", "", "", "", ""),
    *("a photo of", "a picture of", "an image of", "a drawing of", "a scene with"),
    *("draw", "please draw", "paint", "show me", "i want", "can you draw", "make"),
)
ADJECTIVES = (
    *("nice", "cute", "beautiful", "pretty", "shiny", "simple", "bright", "lovely", "soft"),
    *("smooth", "single", "plain", "glossy", "round", "perfect", "colourful", "3d", "clean"),
)
LETTERS = "eeeaaaiioootttnnnsssrrrlllddcumphgbyfvkwxjqz"


def caption_scene(scene: Scene, rng: Random) -> str:
    """One wording of the scene; it may leave the background or the position unsaid."""
    if not scene.items:
        return caption_background(scene.background, rng)
    if len(scene.items) == 2:
        return _finish(_describe_pair(scene, rng), rng)
    form = rng.random()
    if form < 0.7:
        return _finish(_describe_single(scene, rng), rng)
    return _finish(_list_features(scene, rng), rng)


def caption_item(item: Item, background: str, rng: Random) -> str:
    """One wording of an object alone, wherever it is; now and then with the background."""
    noun = with_article(item_noun(item, rng))
    place = _background_phrase(background, rng) if rng.random() < 0.45 else ""
    return _finish(_join(rng.choice(OPENINGS), noun, place), rng)


def caption_background(background: str, rng: Random) -> str:
    """One wording of a background with nothing on it."""
    return _finish(_describe_empty(background, rng), rng)


def caption_image(scene: Scene) -> str:
    """The one wording of what an image shows, of two objects the left one first."""
    items = sorted(scene.items, key=lambda item: item.x)
    nouns = [with_article(f"{item.colour} {item.shape}") for item in items]
    return _join(" and ".join(nouns), "on", with_article(f"{scene.background} background"))


def plain_caption(scene: Scene) -> str:
    """The one unadorned wording of a scene with one object, as the evaluation asks for it."""
    (item,) = scene.items
    words = [item.size, item.colour, item.shape]
    noun = " ".join(word for word in words if word)
    position = POSITION_PHRASES[scene.position][0] if scene.position else ""
    return _join(with_article(noun), position, "on", with_article(f"{scene.background} background"))


def with_article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def colour_word(colour: str, rng: Random) -> str:
    """The colour's name or another word for it."""
    return rng.choice(COLOUR_WORDS.get(colour, (colour,)))


def shape_noun(shape: str, rng: Random) -> str:
    """The shape's name or another word for it."""
    return rng.choice(SHAPE_NOUNS[shape])


def item_noun(item: Item, rng: Random) -> str:
    """Size, colour and shape, such as "large red circle"; now and then with another adjective."""
    adjective = ""
    if rng.random() < 0.08:
        # A word that means nothing here, so that unknown words do no harm later.
        adjective = rng.choice(ADJECTIVES) if rng.random() < 0.5 else babble(rng)
    return _join(
        adjective,
        rng.choice(SIZE_WORDS[item.size]),
        colour_word(item.colour, rng),
        shape_noun(item.shape, rng),
    )


def babble(rng: Random) -> str:
    """A word of three to eight letters that means nothing."""
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(3, 8)))


def _describe_empty(background: str, rng: Random) -> str:
    colour = colour_word(background, rng)
    forms = ("a plain {}", "an empty {}", "{}", "nothing on a {}", "just a {}")
    return f"{rng.choice(forms).format(colour)} background"


def _describe_single(scene: Scene, rng: Random) -> str:
    (item,) = scene.items
    noun = item_noun(item, rng)
    if rng.random() < 0.85:
        noun = with_article(noun)
    position = _position_phrase(scene, rng)
    background = _background_phrase(scene.background, rng)
    places = [position, background]
    if rng.random() < 0.2 and not background.startswith(","):
        places.reverse()
    opening = rng.choice(OPENINGS)
    closing = "please" if rng.random() < 0.06 else ""
    return _join(opening, noun, *places, closing)


def _list_features(scene: Scene, rng: Random) -> str:
    (item,) = scene.items
    noun, position = item_noun(item, rng), _position_phrase(scene, rng)
    background = f"{colour_word(scene.background, rng)} background"
    return rng.choice(
        (
            f"{noun} {position}, {background}",
            f"{background}, {noun} {position}",
            f"{with_article(background)} with {with_article(noun)} {position}",
            f"{with_article(noun)} {position}, the background is {background.split(' back')[0]}",
        )
    )


def _describe_pair(scene: Scene, rng: Random) -> str:
    assert scene.relation is not None
    first, second = (with_article(item_noun(item, rng)) for item in scene.items)
    relation = rng.choice(RELATION_PHRASES[scene.relation])
    background = _background_phrase(scene.background, rng)
    return _join(rng.choice(OPENINGS), first, relation, second, background)


def _position_phrase(scene: Scene, rng: Random) -> str:
    if scene.position is None or rng.random() < 0.1:
        return ""
    return rng.choice(POSITION_PHRASES[scene.position])


def _background_phrase(background: str, rng: Random) -> str:
    if rng.random() < 0.06:
        return ""
    colour = colour_word(background, rng)
    noun = f"{with_article(colour)} background"
    return rng.choice(
        (
            f"on {noun}",
            f"on {noun}",
            f"with {noun}",
            f"against {noun}",
            f", {colour} background",
            f"on {colour}",
        )
    )


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _finish(text: str, rng: Random) -> str:
    text = " ".join(text.split()).replace(" ,", ",")
    return f"{text}." if rng.random() < 0.12 else text
