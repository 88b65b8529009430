"""Fill's exam: put something into a hole, take something away, go on beyond the edge."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from .assemble import FILL
from .captions import plain_caption, with_article
from .exam import Exam, Marks, draw_picture, to_picture, to_pixels
from .masks import KINDS, masks_around
from .scenes import CANVAS, COLOUR_NAMES, SHAPES, Item, Scene, is_held_out, sample_single
from .scoring import best_shape, nearest_colour, object_colour, object_mask

AREAS = {
    "left": (0, 0, 64, 128),
    "right": (64, 0, 128, 128),
    "top": (0, 0, 128, 64),
    "bottom": (0, 64, 128, 128),
    "center": (32, 32, 96, 96),
}
"""Boxes to repaint; `area` of the command has them by the same names."""
ELSEWHERE = {"left": (96, 64), "right": (32, 64), "top": (64, 96), "bottom": (64, 32)}
CLOSE = 0.12
"""How near to the true background, in RGB of 0..1, a pixel goes on with it."""
CONTINUED = 0.9
"""Part of the border that does so where it counts as continued."""
LEFTOVER = 0.01
"""Part of the hole that may differ from the background where something is removed."""


@dataclass(frozen=True, kw_only=True)
class FillQuestion:
    """A hole in a picture of `background`; `item` is what to put into it, None is nothing."""

    prompt: str
    picture: Image.Image
    hole: Image.Image
    background: str
    item: Item | None
    kind: str

    @property
    def shown(self) -> Mapping[str, Any]:
        return {"image": self.picture, "mask_image": self.hole}

    def compose(self, picture: Image.Image) -> Image.Image:
        """The picture with the answer in its hole alone, as the bot puts it together."""
        return Image.composite(picture, self.picture, self.hole)

    def mark(self, picture: Image.Image) -> Marks:
        """Colour and shape inside of the hole, or whether the background goes on there."""
        plain = draw_picture(Scene(background=self.background))
        inside = Image.composite(picture, plain, self.hole)
        if self.item is not None:
            return {
                f"{self.kind}: colour": object_colour(inside) == self.item.colour,
                f"{self.kind}: shape": best_shape(inside) == self.item.shape,
            }
        hole = np.asarray(self.hole) > 127
        if self.kind == "remove":
            return {"remove: gone": object_mask(inside)[hole].mean() < LEFTOVER}
        close = np.linalg.norm(to_pixels(picture) - to_pixels(plain), axis=-1)[hole] < CLOSE
        named = nearest_colour(np.median(to_pixels(picture)[hole], axis=0))
        continues = close.mean() >= CONTINUED and named == self.background
        return {"outpaint: goes on": continues}


def fill_exam(count: int, seed: int) -> Exam:
    """A third of holes around an object, as many areas, the rest removals and outpainting."""
    rng = Random(seed)
    makers = (_ask_to_replace, _ask_for_area, _ask_to_replace, _ask_for_area, _ask_to_remove)
    makers = (*makers, _ask_to_outpaint, _ask_to_outpaint)
    questions = [makers[index % len(makers)](rng, index) for index in range(count)]
    return Exam(
        title="Fill", model=FILL, questions=questions, steps=30, guidance=30, extremes=(1, 50)
    )


def _ask_to_replace(rng: Random, index: int) -> FillQuestion:
    scene, wanted = _sample_change(rng)
    (item,) = scene.items
    radius = max(item.radius, 18.0) * 1.15
    return FillQuestion(
        kind="hole",
        prompt=_ask_for(wanted, scene.background, index),
        picture=draw_picture(scene),
        hole=_make_hole(item, radius, rng, index % KINDS),
        background=scene.background,
        item=wanted,
    )


def _ask_for_area(rng: Random, index: int) -> FillQuestion:
    scene, wanted = _sample_change(rng)
    area = rng.choice(tuple(AREAS))
    if area in ELSEWHERE:
        other = replace(scene.items[0], radius=16.0).at(*ELSEWHERE[area])
        scene = replace(scene, items=(other,))
    else:
        scene = replace(scene, items=())
    hole = Image.new("L", (CANVAS, CANVAS))
    hole.paste(255, AREAS[area])
    return FillQuestion(
        kind="area",
        prompt=_ask_for(wanted, scene.background, index),
        picture=draw_picture(scene),
        hole=hole,
        background=scene.background,
        item=wanted,
    )


def _ask_to_remove(rng: Random, index: int) -> FillQuestion:
    scene, _ = _sample_change(rng)
    (item,) = scene.items
    return FillQuestion(
        kind="remove",
        prompt=f"a plain {scene.background} background",
        picture=draw_picture(scene),
        # Wide enough for the shadow.
        hole=_make_hole(item, item.radius * 1.4 + 4, rng, index % KINDS),
        background=scene.background,
        item=None,
    )


def _ask_to_outpaint(rng: Random, index: int) -> FillQuestion:
    """A canvas grown on one to four sides, with gray, noise or a blur outside."""
    scene, _ = _sample_change(rng)
    sides = [side if rng.random() < 0.5 else 0 for side in rng.choices(range(16, 44), k=4)]
    if not any(sides):
        sides[rng.randrange(4)] = 32
    left, top, right, bottom = sides[0], sides[1], CANVAS - sides[2], CANVAS - sides[3]
    radius = min(right - left, bottom - top) * 0.3
    item = replace(scene.items[0], radius=radius).at((left + right) / 2, (top + bottom) / 2)
    scene = replace(scene, items=(item,), position=None)
    picture, inner = draw_picture(scene), (left, top, right, bottom)
    hole = Image.new("L", picture.size, 255)
    hole.paste(0, inner)
    noise = np.random.default_rng(index).integers(0, 256, (CANVAS, CANVAS, 3), np.uint8)
    outside = (
        Image.new("RGB", picture.size, (127, 127, 127)),
        Image.fromarray(noise),
        picture.filter(ImageFilter.GaussianBlur(12)),
    )[index % 3]
    outside.paste(picture.crop(inner), inner)
    return FillQuestion(
        kind="outpaint",
        prompt=rng.choice(("", plain_caption(scene))),
        picture=outside,
        hole=hole,
        background=scene.background,
        item=None,
    )


def _sample_change(rng: Random) -> tuple[Scene, Item]:
    """A scene of one object, and what to put in its place: a combination never trained on."""
    while True:
        scene = sample_single(rng)
        (item,) = scene.items
        wanted = Item(shape=rng.choice(SHAPES), colour=rng.choice(COLOUR_NAMES), radius=20)
        differs = wanted.shape != item.shape and wanted.colour not in (
            item.colour,
            scene.background,
        )
        if differs and is_held_out(wanted.shape, wanted.colour, scene.background):
            radius = min(item.radius, 30.0)
            return replace(scene, items=(replace(item, radius=radius),)), wanted


def _ask_for(item: Item, background: str, index: int) -> str:
    noun = with_article(f"{item.colour} {item.shape}")
    return noun if index % 2 else f"{noun} on {with_article(background)} background"


def _make_hole(item: Item, radius: float, rng: Random, kind: int) -> Image.Image:
    generator = torch.Generator().manual_seed(rng.randrange(2**31))

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(1, *shape, generator=generator)

    discs = torch.tensor([[item.x, item.y, radius]])
    mask = masks_around(discs, (CANVAS, CANVAS), uniform, kind)
    return to_picture(mask.float())
