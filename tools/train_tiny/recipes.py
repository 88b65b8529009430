"""The transformers of the family as data: where each starts, what it learns, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn import functional

from .distillation import SCHNELL_GUIDANCE, GuidanceDistillation, TrajectoryDistillation
from .exercises import CANNY, DEPTH, FILL, KONTEXT, GuidedPractice, Practice, Subject
from .flow import FlowMatching, Objective
from .models import build_transformer
from .studio import Layout, Studio
from .tokenization import TRAINING_LENGTH


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one transformer comes about; a new tool of the family is one more of these."""

    name: str
    start: Callable[[Studio], FluxTransformer2DModel]
    objective: Callable[[Studio, FluxTransformer2DModel], Objective]
    seconds: float
    learning_rate: float
    layouts: tuple[Layout, ...]
    trains_text: bool = False


SQUARE = Layout(
    name="square",
    height=128,
    width=128,
    text_length=TRAINING_LENGTH,
    batch_size=512,
    share=18,
    compiles=True,
)
# The pipelines pad every prompt to `max_sequence_length`, and the models must not mind.
PADDED = Layout(
    name="padded",
    height=128,
    width=128,
    text_length=512,
    batch_size=96,
    share=3,
    compiles=True,
)
OTHER_SIZES = tuple(
    Layout(
        name=name,
        height=height,
        width=width,
        text_length=TRAINING_LENGTH,
        batch_size=256,
        share=1,
        compiles=False,
    )
    for name, height, width in (("portrait", 160, 96), ("landscape", 96, 160), ("small", 64, 64))
)
# Short stages only have to keep what dev has learned about padding.
GUIDANCE_PADDED = replace(PADDED, batch_size=32, compiles=False)
SILENT = replace(PADDED, name="silent", text_length=TRAINING_LENGTH, share=9, silence=512)
SCHNELL_PADDED = replace(PADDED, text_length=256, batch_size=64, compiles=False)
TOOL_PADDED = replace(PADDED, batch_size=64, share=2, compiles=False)


def from_scratch(studio: Studio) -> FluxTransformer2DModel:
    """A new transformer, with new text encoders to learn beside it."""
    torch.manual_seed(0)
    studio.renew_prompts()
    return build_transformer().to(studio.device, studio.dtype)


def from_dev(studio: Studio) -> FluxTransformer2DModel:
    """dev before its guidance was distilled."""
    return studio.load_transformer("dev")


def from_itself(name: str, studio: Studio) -> FluxTransformer2DModel:
    """What an earlier stage made."""
    return studio.load_transformer(name)


def without_guidance(studio: Studio) -> FluxTransformer2DModel:
    """dev at guidance 3.5 for good: its constant embedding becomes part of a bias."""
    parent = studio.load_transformer("guidance")
    weights = parent.state_dict()
    constant = _embed_guidance(parent, SCHNELL_GUIDANCE)
    weights["time_text_embed.text_embedder.linear_2.bias"] += constant
    child = build_transformer(guidance_embeds=False).to(studio.device, studio.dtype)
    child.load_state_dict({name: w for name, w in weights.items() if "guidance" not in name})
    return child


def with_hints(subject: Subject, studio: Studio) -> FluxTransformer2DModel:
    """dev with more input channels, which mean nothing to it yet, and guidance neither.

    dev knows guidance up to 10, the tools go up to 50.
    """
    parent = studio.load_transformer("dev")
    weights = parent.state_dict()
    constant = _embed_guidance(parent, SCHNELL_GUIDANCE)
    weights["time_text_embed.guidance_embedder.linear_2.weight"].zero_()
    weights["time_text_embed.guidance_embedder.linear_2.bias"].copy_(constant)
    patches = weights["x_embedder.weight"]
    weights["x_embedder.weight"] = functional.pad(patches, (0, subject.hint_channels))
    child = build_transformer(hint_channels=subject.hint_channels)
    child.load_state_dict(weights)
    return child.to(studio.device, studio.dtype)


@torch.no_grad()
def _embed_guidance(transformer: FluxTransformer2DModel, guidance: float) -> Tensor:
    """What a constant guidance adds to the embedding of time and text."""
    embedder = transformer.time_text_embed
    scaled = torch.full((1,), 1000 * guidance, device=transformer.device)
    embedding: Tensor = embedder.guidance_embedder(
        embedder.time_proj(scaled).to(transformer.dtype)
    )[0]
    return embedding


def refined(recipe: Recipe) -> Recipe:
    """The recipe as it goes on from its own earlier result, in smaller steps."""
    return replace(
        recipe,
        start=partial(from_itself, recipe.name),
        learning_rate=recipe.learning_rate / 2,
    )


def tool_recipe(subject: Subject, *, seconds: float, layouts: tuple[Layout, ...]) -> Recipe:
    """How dev becomes a tool."""
    return Recipe(
        name=subject.name,
        start=partial(with_hints, subject),
        objective=partial(Practice, subject),
        seconds=seconds,
        learning_rate=2e-3,
        layouts=layouts,
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="dev",
            start=from_scratch,
            objective=FlowMatching,
            seconds=340,
            learning_rate=4e-3,
            layouts=(SQUARE, PADDED, *OTHER_SIZES),
            trains_text=True,
        ),
        Recipe(
            name="guidance",
            start=from_dev,
            objective=GuidanceDistillation,
            seconds=95,
            learning_rate=1e-3,
            layouts=(SQUARE, SILENT, GUIDANCE_PADDED, *OTHER_SIZES),
        ),
        Recipe(
            name="schnell",
            start=without_guidance,
            objective=TrajectoryDistillation,
            seconds=110,
            learning_rate=1.5e-3,
            layouts=(SQUARE, SCHNELL_PADDED, *OTHER_SIZES),
        ),
        tool_recipe(FILL, seconds=150, layouts=(SQUARE, TOOL_PADDED, *OTHER_SIZES)),
        Recipe(
            name="fill_guidance",
            start=partial(from_itself, FILL.name),
            objective=partial(GuidedPractice, FILL),
            seconds=95,
            learning_rate=1e-3,
            layouts=(SQUARE, GUIDANCE_PADDED, *OTHER_SIZES),
        ),
        tool_recipe(KONTEXT, seconds=390, layouts=(SQUARE, TOOL_PADDED, *OTHER_SIZES)),
        tool_recipe(DEPTH, seconds=105, layouts=(SQUARE, TOOL_PADDED, *OTHER_SIZES)),
        tool_recipe(CANNY, seconds=105, layouts=(SQUARE, TOOL_PADDED, *OTHER_SIZES)),
    )
}
