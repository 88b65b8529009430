"""Prompts that no model of the family was trained on, with what their pictures must show."""

from dataclasses import dataclass
from random import Random

from .captions import plain_caption
from .scenes import is_held_out, sample_single


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The text of a prompt for one object, and the names of what it asks for."""

    text: str
    shape: str
    colour: str
    background: str


def fresh_prompts(count: int, seed: int) -> list[Prompt]:
    """Random prompts with and without a size and a position, of combinations never trained on."""
    rng = Random(seed)
    prompts: list[Prompt] = []
    while len(prompts) < count:
        scene = sample_single(rng)
        (item,) = scene.items
        if is_held_out(item.shape, item.colour, scene.background):
            prompts.append(
                Prompt(
                    text=plain_caption(scene),
                    shape=item.shape,
                    colour=item.colour,
                    background=scene.background,
                )
            )
    return prompts
