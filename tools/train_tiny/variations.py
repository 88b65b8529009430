"""What Redux practises: variations of one scene and blends of several, with and without words."""

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from .captions import caption_image, caption_scene
from .data import Lesson
from .scenes import (
    CANVAS,
    COLOUR_NAMES,
    MAX_TILT,
    ROUND_SHAPES,
    SHAPES,
    Item,
    Scene,
    sample_scene,
    shows_held_out,
)

IMAGES = 2
"""Images that are blended here; the pipeline takes more, but a scene has two objects at most."""
BLENDED = 0.4
"""Share of lessons with so many images, the others have one."""
PROMPTED = 0.25
"""Share of lessons with words, which mostly ask for something else than the images."""
CHANGED = 0.5
"""Share of shapes, colours and backgrounds that such words change."""
LARGEST_OF_TWO = 24.0


def sample_redux(rng: Random) -> Lesson:
    """A variation, then the images, None where there are fewer.

    The words are a prompt, empty where only the images are to speak, and a caption of the
    variation and of each image.
    """
    while True:
        images = [sample_scene(rng) for _ in range(IMAGES if rng.random() < BLENDED else 1)]
        has_words = rng.random() < PROMPTED
        scene = images[0] if len(images) == 1 else blend(images, rng)
        target = change(vary(scene, rng), rng) if has_words else vary(scene, rng)
        if not shows_held_out(target):
            break
    prompt = caption_scene(target, rng) if has_words else ""
    missing = IMAGES - len(images)
    captions = [caption_image(scene) for scene in (target, *images)]
    return (target, *images, *([None] * missing)), (prompt, *captions, *([""] * missing))


def blend(images: Sequence[Scene], rng: Random) -> Scene:
    """An object of each of two images side by side, on the background of any."""
    chosen = rng.sample(list(images), len(images))
    items = [rng.choice(image.items) for image in chosen if image.items][:2]
    taken = {item.colour for item in items}
    backgrounds = [image.background for image in chosen if image.background not in taken]
    background = rng.choice(backgrounds or [_other_colour(taken, rng)])
    if len(items) < 2:
        return Scene(background=background, items=tuple(items))
    first, second = (replace(i, radius=min(i.radius, LARGEST_OF_TWO), size="") for i in items)
    angle = rng.choice((0.0, 0.5, 1.0, 1.5)) * math.pi + rng.gauss(0, 0.1)
    half = ((first.radius + second.radius) * rng.uniform(1.05, 1.25) + 3) / 2
    dx, dy = half * math.cos(angle), half * math.sin(angle)
    first = first.at(CANVAS / 2 + dx, CANVAS / 2 + dy)
    second = second.at(CANVAS / 2 - dx, CANVAS / 2 - dy)
    return Scene(background=background, items=(first, second), relation="and")


def vary(scene: Scene, rng: Random) -> Scene:
    """The same scene again, not pixel by pixel."""
    shift = rng.gauss(0, 6), rng.gauss(0, 6)
    items = tuple(_vary_item(item, shift, rng) for item in scene.items)
    return replace(scene, items=items, position=None)


def change(scene: Scene, rng: Random) -> Scene:
    """The scene with other shapes, another colour or another background."""
    items = list(scene.items)
    if rng.random() < CHANGED:
        items = [replace(item, shape=rng.choice(SHAPES)) for item in items]
    if items and rng.random() < CHANGED:
        index = rng.randrange(len(items))
        taken = {scene.background, *(item.colour for item in items)}
        items[index] = replace(items[index], colour=_other_colour(taken, rng))
    background = scene.background
    if rng.random() < CHANGED:
        background = _other_colour({background, *(item.colour for item in items)}, rng)
    return replace(scene, background=background, items=tuple(items))


def _vary_item(item: Item, shift: tuple[float, float], rng: Random) -> Item:
    tilt = 0.0 if item.shape in ROUND_SHAPES else rng.uniform(-MAX_TILT, MAX_TILT)
    radius = item.radius * math.exp(rng.gauss(0, 0.1))
    moved = replace(item, tilt=tilt, radius=min(max(radius, 10.0), 46.0), size="")
    x, y = item.x + shift[0], item.y + shift[1]
    return moved.at(x + rng.gauss(0, 1.5), y + rng.gauss(0, 1.5))


def _other_colour(taken: set[str], rng: Random) -> str:
    return rng.choice([name for name in COLOUR_NAMES if name not in taken])
