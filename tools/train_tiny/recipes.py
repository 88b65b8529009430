"""The transformers of the family as data: where each starts, what it learns, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from diffusers import FluxTransformer2DModel

from .distillation import SCHNELL_GUIDANCE, GuidanceDistillation, TrajectoryDistillation
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
SCHNELL_PADDED = replace(PADDED, text_length=256, batch_size=64, compiles=False)


def from_scratch(studio: Studio) -> FluxTransformer2DModel:
    """A new transformer, with new text encoders to learn beside it."""
    torch.manual_seed(0)
    studio.renew_prompts()
    return build_transformer().to(studio.device, studio.dtype)


def from_dev(studio: Studio) -> FluxTransformer2DModel:
    """dev before its guidance was distilled."""
    return studio.load_transformer("dev")


def without_guidance(studio: Studio) -> FluxTransformer2DModel:
    """dev at guidance 3.5 for good: its constant embedding becomes part of a bias."""
    parent = studio.load_transformer("guidance")
    weights = parent.state_dict()
    embedder = parent.time_text_embed
    with torch.no_grad():
        guidance = torch.full((1,), 1000 * SCHNELL_GUIDANCE, device=studio.device)
        constant = embedder.guidance_embedder(embedder.time_proj(guidance).to(studio.dtype))[0]
    weights["time_text_embed.text_embedder.linear_2.bias"] += constant
    child = build_transformer(guidance_embeds=False).to(studio.device, studio.dtype)
    child.load_state_dict({name: w for name, w in weights.items() if "guidance" not in name})
    return child


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
            seconds=40,
            learning_rate=1e-3,
            layouts=(SQUARE, GUIDANCE_PADDED, *OTHER_SIZES),
        ),
        Recipe(
            name="schnell",
            start=without_guidance,
            objective=TrajectoryDistillation,
            seconds=110,
            learning_rate=1.5e-3,
            layouts=(SQUARE, SCHNELL_PADDED, *OTHER_SIZES),
        ),
    )
}
