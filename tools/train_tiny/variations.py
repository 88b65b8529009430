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

IMAGES = 4
"""Images that can be blended."""
BLENDED = (1, 1, 1, 1, 1, 2, 2, 2, 3, 4)
"""How many are, as often as each stands here."""
LOOSENESS = (0.0, 0.5, 0.9)
"""How freely the variation is made, for strengths that fall into the top, middle and low third."""
PROMPTED, CONTRADICTED = 0.3, 0.7
"""Share of lessons with words, and of these the share whose words ask for something else."""
LARGEST_OF_TWO = 24.0


def sample_redux(rng: Random) -> Lesson:
    """A variation for each looseness, then the images, None where there are fewer.

    The words are a prompt for each variation, empty where only the images are to speak, and a
    caption of each image.
    """
    while True:
        images = [sample_scene(rng) for _ in range(rng.choice(BLENDED))]
        has_words = rng.random() < PROMPTED
        changes = has_words and rng.random() < CONTRADICTED
        targets = [_paint_anew(images, looseness, changes, rng) for looseness in LOOSENESS]
        if not any(shows_held_out(target) for target in targets):
            break
    words = [caption_scene(target, rng) if has_words else "" for target in targets]
    missing = IMAGES - len(images)
    captions = [*(caption_image(image) for image in images), *([""] * missing)]
    return (*targets, *images, *([None] * missing)), (*words, *captions)


def _paint_anew(images: Sequence[Scene], looseness: float, changes: bool, rng: Random) -> Scene:
    scene = images[0] if len(images) == 1 else blend(images, rng)
    scene = vary(scene, looseness, rng)
    return vary(scene, 1.0, rng) if changes else scene


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


def vary(scene: Scene, looseness: float, rng: Random) -> Scene:
    """The same scene again, not pixel by pixel; the looser, the more of it is something else."""

    def is_changed(share: float) -> bool:
        return rng.random() < share * looseness

    shift = rng.gauss(0, 4 + 12 * looseness), rng.gauss(0, 4 + 12 * looseness)
    items = [_vary_item(item, looseness, shift, rng) for item in scene.items]
    if is_changed(0.5):
        items = [replace(item, shape=rng.choice(SHAPES)) for item in items]
    if items and is_changed(0.5):
        index = rng.randrange(len(items))
        taken = {scene.background, *(item.colour for item in items)}
        items[index] = replace(items[index], colour=_other_colour(taken, rng))
    background = scene.background
    if is_changed(0.5):
        background = _other_colour({background, *(item.colour for item in items)}, rng)
    return replace(scene, background=background, items=tuple(items), position=None)


def _vary_item(item: Item, looseness: float, shift: tuple[float, float], rng: Random) -> Item:
    tilt = 0.0 if item.shape in ROUND_SHAPES else rng.uniform(-MAX_TILT, MAX_TILT)
    radius = item.radius * math.exp(rng.gauss(0, 0.06 + 0.12 * looseness))
    moved = replace(item, tilt=tilt, radius=min(max(radius, 10.0), 46.0), size="")
    x, y = item.x + shift[0], item.y + shift[1]
    return moved.at(x + rng.gauss(0, 1.5), y + rng.gauss(0, 1.5))


def _other_colour(taken: set[str], rng: Random) -> str:
    return rng.choice([name for name in COLOUR_NAMES if name not in taken])
