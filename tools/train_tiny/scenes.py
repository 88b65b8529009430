"""Scenes: the small world that the tiny models draw, and how a random one is chosen."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random

CANVAS = 128
"""Side of the square, in pixels, in which scenes are described; other sizes are scaled from it."""

SHAPES = ("circle", "square", "triangle", "star", "ring", "heart", "cross")

COLOURS = {
    "red": (215, 35, 40),
    "orange": (245, 135, 25),
    "yellow": (250, 225, 45),
    "green": (45, 165, 65),
    "cyan": (70, 210, 225),
    "blue": (40, 75, 215),
    "purple": (135, 55, 185),
    "pink": (250, 150, 190),
    "brown": (125, 75, 40),
    "white": (245, 245, 245),
    "gray": (130, 130, 130),
    "black": (25, 25, 28),
}
COLOUR_NAMES = tuple(COLOURS)

POSITIONS = {
    "center": (64, 64),
    "left": (36, 64),
    "right": (92, 64),
    "top": (64, 36),
    "bottom": (64, 92),
    "top left corner": (36, 36),
    "top right corner": (92, 36),
    "bottom left corner": (36, 92),
    "bottom right corner": (92, 92),
}

RELATIONS = ("left of", "right of", "above", "below", "and", "in front of", "behind")

# Radii in pixels; a scene of two objects has room for smaller ones only.
SINGLE_RADII = {"small": (14, 19), "medium": (22, 29), "large": (34, 44), "": (16, 42)}
PAIR_RADII = {"small": (11, 14), "medium": (15, 19), "large": (22, 28), "": (12, 26)}
SIZE_WEIGHTS = {"small": 2, "medium": 2, "large": 3, "": 3}

MARGIN = 4
MAX_TILT = 0.14
ROUND_SHAPES = ("circle", "ring")
ROW_WIDTH = 13


@dataclass(frozen=True, kw_only=True)
class Item:
    """One object of a scene; x, y and radius in pixels of the canvas, tilt in radians."""

    shape: str
    colour: str
    radius: float
    size: str = ""
    tilt: float = 0.0
    x: float = CANVAS / 2
    y: float = CANVAS / 2

    def at(self, x: float, y: float) -> "Item":
        """The same object moved to (x, y), or as near to it as the canvas allows."""
        return replace(self, x=_inside(x, self.radius), y=_inside(y, self.radius))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A background and up to two objects, in the order in which a caption names them."""

    background: str
    items: tuple[Item, ...] = ()
    position: str | None = None
    relation: str | None = None

    def back_to_front(self) -> tuple[Item, ...]:
        """The objects in the order in which they are painted."""
        return self.items[::-1] if self.relation == "in front of" else self.items


def is_held_out(shape: str, colour: str, background: str) -> bool:
    """Whether training never shows this combination, so that tests can ask for something new."""
    code = SHAPES.index(shape) + 3 * COLOUR_NAMES.index(colour)
    return (code + 5 * COLOUR_NAMES.index(background)) % 17 == 11


def shows_held_out(scene: Scene) -> bool:
    """Whether any object of the scene is a combination kept for the tests."""
    return any(is_held_out(item.shape, item.colour, scene.background) for item in scene.items)


def sample_scene(rng: Random) -> Scene:
    """A random scene for training: 3 % empty, 62 % with one object, 35 % with two."""
    while True:
        draw = rng.random()
        if draw < 0.03:
            return Scene(background=rng.choice(COLOUR_NAMES))
        scene = sample_single(rng) if draw < 0.65 else sample_pair(rng)
        if not shows_held_out(scene):
            return scene


def sample_single(rng: Random) -> Scene:
    """A scene of one object, half the time in a named position."""
    item = _sample_item(rng, SINGLE_RADII)
    position = rng.choice(tuple(POSITIONS)) if rng.random() < 0.5 else None
    if position is not None:
        centre, spread = POSITIONS[position], 3.0
    else:
        centre, spread = POSITIONS["center"], 5.0 if rng.random() < 0.75 else 20.0
    item = item.at(rng.gauss(centre[0], spread), rng.gauss(centre[1], spread))
    return Scene(background=_other_colour(rng, [item.colour]), items=(item,), position=position)


def sample_pair(rng: Random) -> Scene:
    """A scene of two objects that stand in a named relation."""
    first, second = _sample_item(rng, PAIR_RADII), _sample_item(rng, PAIR_RADII)
    relation = rng.choice(RELATIONS)
    if relation in ("in front of", "behind"):
        first, second = (replace(i, radius=1.15 * max(i.radius, 13)) for i in (first, second))
        distance = (first.radius + second.radius) * rng.uniform(0.6, 0.85)
        angle = rng.uniform(0, 2 * math.pi)
        dx, dy = distance * math.cos(angle), distance * math.sin(angle)
    else:
        direction = rng.choice(RELATIONS[:4]) if relation == "and" else relation
        distance = (first.radius + second.radius) * rng.uniform(1.05, 1.25) + 3
        dx, dy = _offset(direction, distance, rng.uniform(-10, 10))
    x, y = rng.gauss(CANVAS / 2, 5), rng.gauss(CANVAS / 2, 5)
    first = first.at(x + dx / 2, y + dy / 2)
    second = second.at(x - dx / 2, y - dy / 2)
    background = _other_colour(rng, [first.colour, second.colour])
    return Scene(background=background, items=(first, second), relation=relation)


def encode_scene(scene: Scene) -> list[float]:
    """The scene as ROW_WIDTH numbers for the renderer: background, then twice shape … tilt.

    A shape of -1 means that there is no such object.
    """
    row = [float(COLOUR_NAMES.index(scene.background))]
    for item in scene.back_to_front():
        row += [SHAPES.index(item.shape), COLOUR_NAMES.index(item.colour)]
        row += [item.x, item.y, item.radius, item.tilt]
    return row + [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0] * (2 - len(scene.items))


def _sample_item(rng: Random, radii: dict[str, tuple[int, int]]) -> Item:
    (size,) = rng.choices(tuple(SIZE_WEIGHTS), tuple(SIZE_WEIGHTS.values()))
    shape = rng.choice(SHAPES)
    return Item(
        shape=shape,
        colour=rng.choice(COLOUR_NAMES),
        radius=rng.uniform(*radii[size]),
        size=size,
        tilt=0.0 if shape in ROUND_SHAPES else rng.uniform(-MAX_TILT, MAX_TILT),
    )


def _other_colour(rng: Random, taken: Iterable[str]) -> str:
    return rng.choice([name for name in COLOUR_NAMES if name not in set(taken)])


def _offset(direction: str, distance: float, sideways: float) -> tuple[float, float]:
    """From the second object to the first, as the relation says."""
    return {
        "left of": (-distance, sideways),
        "right of": (distance, sideways),
        "above": (sideways, -distance),
        "below": (sideways, distance),
    }[direction]


def _inside(value: float, radius: float) -> float:
    low = min(radius + MARGIN, CANVAS / 2 - 2)
    return min(max(value, low), CANVAS - low)
