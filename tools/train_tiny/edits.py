"""Edit instructions: a scene, the scene it becomes, and the sentence that asks for it."""

from dataclasses import dataclass, replace
from random import Random

from .captions import colour_word, item_noun, shape_noun, with_article
from .scenes import (
    CANVAS,
    COLOUR_NAMES,
    SHAPES,
    Item,
    Scene,
    sample_pair,
    sample_single,
    shows_held_out,
)

GROWTH = 1.45
LARGEST, SMALLEST = 46.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Edit:
    """An instruction that turns `source` into `target`; `item` is the object that it is about.

    It is the object as it was, or as it appears if it is added; None is the background.
    """

    kind: str
    item: Item | None
    source: Scene
    target: Scene
    instruction: str


def sample_edit(rng: Random, *, held_out: bool = False) -> Edit:
    """A random edit of a random scene in which the named object is the only one of its shape.

    With `held_out` it begins or ends with a combination that training never shows.
    """
    changes = (*(_recolour, _change_background, _remove, _reshape, _resize) * 2, _add)
    while True:
        scene = sample_pair(rng) if rng.random() < 0.55 else sample_single(rng)
        change = rng.choice(changes)
        if change is _add and len(scene.items) == 2:
            continue
        if len({item.shape for item in scene.items}) < len(scene.items):
            continue
        edit = change(scene, rng)
        if (shows_held_out(edit.source) or shows_held_out(edit.target)) == held_out:
            return edit


def _recolour(scene: Scene, rng: Random) -> Edit:
    item = rng.choice(scene.items)
    colour = _unused_colour(scene, rng)
    word, name = colour_word(colour, rng), _refer(item, rng)
    instruction = rng.choice(
        (
            f"make the {name} {word}",
            f"change the {name} to {word}",
            f"turn the {name} {word}",
            f"paint the {name} {word}",
            f"change the color of the {name} to {word}",
            f"recolor the {name} {word}",
        )
    )
    return Edit(
        kind="recolour",
        item=item,
        source=scene,
        target=_replace_item(scene, item, replace(item, colour=colour)),
        instruction=instruction,
    )


def _change_background(scene: Scene, rng: Random) -> Edit:
    colour = _unused_colour(scene, rng)
    word = colour_word(colour, rng)
    instruction = rng.choice(
        (
            f"change the background to {word}",
            f"make the background {word}",
            f"turn the background {word}",
            f"put it on {with_article(word)} background",
        )
    )
    return Edit(
        kind="background",
        item=None,
        source=scene,
        target=replace(scene, background=colour),
        instruction=instruction,
    )


def _remove(scene: Scene, rng: Random) -> Edit:
    item = rng.choice(scene.items)
    rest = tuple(other for other in scene.items if other is not item)
    verb = rng.choice(("remove", "delete", "erase", "take away"))
    return Edit(
        kind="remove",
        item=item,
        source=scene,
        target=replace(scene, items=rest, relation=None, position=None),
        instruction=f"{verb} the {_refer(item, rng)}",
    )


def _reshape(scene: Scene, rng: Random) -> Edit:
    item = rng.choice(scene.items)
    taken = {other.shape for other in scene.items}
    shape = rng.choice([name for name in SHAPES if name not in taken])
    name, noun = _refer(item, rng), with_article(shape_noun(shape, rng))
    instruction = rng.choice(
        (
            f"turn the {name} into {noun}",
            f"replace the {name} with {noun}",
            f"change the {name} to {noun}",
            f"make the {name} {noun}",
        )
    )
    return Edit(
        kind="reshape",
        item=item,
        source=scene,
        target=_replace_item(scene, item, replace(item, shape=shape)),
        instruction=instruction,
    )


def _resize(scene: Scene, rng: Random) -> Edit:
    item = rng.choice(scene.items)
    if item.radius * GROWTH > LARGEST:
        grows = False
    elif item.radius / GROWTH < SMALLEST:
        grows = True
    else:
        grows = rng.random() < 0.5
    radius = item.radius * (GROWTH if grows else 1 / GROWTH)
    name = _refer(item, rng)
    instruction = rng.choice(
        (f"make the {name} bigger", f"make the {name} larger", f"grow the {name}")
        if grows
        else (f"make the {name} smaller", f"shrink the {name}")
    )
    return Edit(
        kind="resize",
        item=item,
        source=scene,
        target=_replace_item(scene, item, replace(item, radius=radius).at(item.x, item.y)),
        instruction=instruction,
    )


def _add(scene: Scene, rng: Random) -> Edit:
    """Adds an object beside the first, which is moved aside in the source to make room."""
    dx, dy, words = rng.choice(
        ((-1, 0, "to the left"), (1, 0, "to the right"), (0, -1, "above it"), (0, 1, "below it"))
    )
    item = replace(scene.items[0], radius=min(scene.items[0].radius, 20.0))
    other = sample_single(rng).items[0]
    other = replace(
        other,
        radius=min(other.radius, 26.0),
        size="",
        shape=rng.choice([name for name in SHAPES if name != item.shape]),
        colour=_unused_colour(scene, rng),
    )
    shift = (item.radius + other.radius + 8) / 2
    item = item.at(CANVAS / 2 - dx * shift, CANVAS / 2 - dy * shift)
    other = other.at(CANVAS / 2 + dx * shift, CANVAS / 2 + dy * shift)
    verb = rng.choice(("add", "put"))
    return Edit(
        kind="add",
        item=other,
        source=replace(scene, items=(item,), position=None),
        target=replace(scene, items=(item, other), position=None, relation="and"),
        instruction=f"{verb} {with_article(item_noun(other, rng))} {words}",
    )


def _refer(item: Item, rng: Random) -> str:
    noun = shape_noun(item.shape, rng)
    return f"{colour_word(item.colour, rng)} {noun}" if rng.random() < 0.35 else noun


def _unused_colour(scene: Scene, rng: Random) -> str:
    taken = {scene.background, *(item.colour for item in scene.items)}
    return rng.choice([name for name in COLOUR_NAMES if name not in taken])


def _replace_item(scene: Scene, old: Item, new: Item) -> Scene:
    return replace(scene, items=tuple(new if item is old else item for item in scene.items))
