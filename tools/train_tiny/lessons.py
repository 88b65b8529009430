"""What Fill, Depth, Canny and Kontext practise: random lessons, each from one or two scenes."""

from random import Random

from .captions import caption_background, caption_item, caption_scene
from .data import Lesson
from .edits import sample_edit
from .scenes import Scene, sample_scene

REMOVALS = 0.1
"""Share of Fill's lessons in which nothing is to appear."""
WHOLE_SCENES = 0.3
"""Share in which the words are about the whole picture and the mask is anywhere."""
COVERED_SCENES = 0.2
"""Share in which they may be, although the mask covers one object; in the rest it is named."""
HARD_EDITS = ("reshape", "remove")
EASY_LEFT_OUT = 0.5
"""Share of the other edits that make room for more of the hard ones."""


def sample_control(rng: Random) -> Lesson:
    """A scene and two captions; its control is computed from its drawing."""
    scene = sample_scene(rng)
    return (scene,), (caption_scene(scene, rng), caption_scene(scene, rng))


def sample_fill(rng: Random) -> Lesson:
    """A scene to complete, and what the mask covers, as `random_masks` reads it."""
    scene, draw = sample_scene(rng), rng.random()
    if draw < REMOVALS:
        background = scene.background
        return (scene, Scene(background=background)), (caption_background(background, rng), "")
    if not scene.items or draw < REMOVALS + WHOLE_SCENES:
        return (scene, None), (caption_scene(scene, rng), caption_scene(scene, rng))
    item = rng.choice(scene.items)
    covered = Scene(background=scene.background, items=(item,))
    first, second = (caption_item(item, scene.background, rng) for _ in range(2))
    if draw < REMOVALS + WHOLE_SCENES + COVERED_SCENES:
        second = caption_scene(scene, rng)
    return (scene, covered), (first, second)


def sample_kontext(rng: Random) -> Lesson:
    """The scene after an edit, the scene before it, and the instruction."""
    edit = sample_edit(rng)
    while edit.kind not in HARD_EDITS and rng.random() < EASY_LEFT_OUT:
        edit = sample_edit(rng)
    instruction = edit.instruction
    if rng.random() < 0.1:
        instruction = rng.choice((f"please {instruction}", f"{instruction}."))
    return (edit.target, edit.source), (instruction,)
