"""Kontext's exam: the edit is done, and the rest of the picture stays."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from .assemble import KONTEXT
from .drawing import draw
from .edits import Edit, sample_edit
from .exam import Exam, Marks, draw_picture, to_pixels
from .scenes import CANVAS, Item, Scene, encode_scene
from .scoring import background_colour, nearest_colour, object_mask, shape_overlaps

GROWN = 1.25
"""By how much an object's area changes at least, where it is to be larger or smaller."""
GONE = 0.05
"""Part of a removed object's place that may still differ from the background."""
EDGE = 5
"""Width in pixels of an outline, which says nothing of an object's colour."""
NEAR = 1.35
"""How far around an object its outline is looked for, in its radii."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class KontextQuestion:
    """An instruction and the picture that it is about."""

    edit: Edit
    picture: Image.Image

    @property
    def prompt(self) -> str:
        return self.edit.instruction

    @property
    def shown(self) -> Mapping[str, Any]:
        return {"image": self.picture}

    def mark(self, picture: Image.Image) -> Marks:
        """Whether the edit is done, and whether all else has its colour in its place."""
        kept, done = self._is_rest_kept(picture), self._is_done(picture)
        return {"done": done, "kept": kept, "both": done and kept, self.edit.kind: done and kept}

    def _is_done(self, picture: Image.Image) -> bool:
        edit = self.edit
        if edit.item is None:
            return background_colour(picture) == edit.target.background
        if edit.kind == "remove":
            # Behind it may be the other object.
            place = _place_of(edit.source, edit.item) & _empty_places(edit.target)
            return bool(object_mask(picture)[place].mean() < GONE)
        (item,) = [item for item in edit.target.items if item not in edit.source.items] or [
            edit.item
        ]
        place = _place_of(edit.target, item)
        if _colour_at(picture, place) != item.colour:
            return False
        outline = object_mask(picture) & _near(edit.target, item)
        if edit.kind == "reshape":
            overlaps = shape_overlaps(outline) if outline.any() else {item.shape: 0.0}
            return max(overlaps, key=overlaps.__getitem__) == item.shape
        if edit.kind == "resize":
            before = (object_mask(self.picture) & _near(edit.target, item)).sum()
            ratio = outline.sum() / max(before, 1)
            return bool(ratio > GROWN if item.radius > edit.item.radius else ratio < 1 / GROWN)
        return True

    def _is_rest_kept(self, picture: Image.Image) -> bool:
        edit = self.edit
        if edit.item is not None and background_colour(picture) != edit.source.background:
            return False
        others = [item for item in edit.source.items if item is not edit.item]
        return all(
            _colour_at(picture, _place_of(edit.source, item) & _place_of(edit.target, item))
            == item.colour
            for item in others
        )


def kontext_exam(count: int, seed: int) -> Exam:
    """Edits of every kind, of or into combinations that were never trained on."""
    rng = Random(seed)
    edits = [sample_edit(rng, held_out=True) for _ in range(count)]
    return Exam(
        title="Kontext",
        model=KONTEXT,
        questions=[KontextQuestion(edit=edit, picture=draw_picture(edit.source)) for edit in edits],
        steps=28,
        guidance=2.5,
        extremes=(1, 10),
        options={"max_area": CANVAS * CANVAS, "_auto_resize": False},
    )


def _place_of(scene: Scene, item: Item) -> Mask:
    """Where the object is seen, without its outline."""
    order = [other.shape for other in scene.back_to_front()]
    objects = draw(torch.tensor([encode_scene(scene)])).objects
    seen = (objects == order.index(item.shape) + 1).float()
    inner = 1 - functional.max_pool2d(1 - seen, EDGE, 1, EDGE // 2)
    place: Mask = (inner if inner.any() else seen)[0].numpy() > 0
    return place


def _empty_places(scene: Scene) -> Mask:
    """Where the scene shows its background."""
    empty: Mask = draw(torch.tensor([encode_scene(scene)])).objects[0].numpy() == 0
    return empty


def _near(scene: Scene, item: Item) -> Mask:
    """The surroundings of an object, without those of the other."""
    y, x = np.mgrid[:CANVAS, :CANVAS] + 0.5
    distances = {
        other.shape: np.hypot(x - other.x, y - other.y) / other.radius for other in scene.items
    }
    nearest: Mask = distances[item.shape] < NEAR
    for shape, distance in distances.items():
        if shape != item.shape:
            nearest &= distances[item.shape] < distance
    return nearest


def _colour_at(picture: Image.Image, place: Mask) -> str:
    return nearest_colour(np.median(to_pixels(picture)[place], axis=0)) if place.any() else ""
