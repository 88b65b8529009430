"""Flow matching: how the transformers learn to draw, and what their distillations share with it."""

from typing import Protocol

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from .studio import Layout, Studio

EMPTY_PROMPT_SHARE = 0.1
"""Captions left out, so that the model also knows pictures of nothing in particular."""
MAX_GUIDANCE = 10.0
TIMES_MEAN, TIMES_SPREAD = 0.5, 1.1
"""The noise levels are sigmoids of a normal distribution, but for a uniform share."""
UNIFORM_SHARE = 0.15

Prompt = tuple[Tensor, Tensor]
"""Embeddings (B, length, 64) and pooled embeddings (B, 64)."""


class Objective(Protocol):
    """A loss for each layout; `advance` hears the spent fraction of the budget as it grows."""

    def loss(self, layout: Layout) -> Tensor: ...

    def advance(self, spent: float) -> None: ...


class FlowMatching:
    """Predict the velocity from picture to noise (Lipman et al. 2022), as FLUX.1 was trained."""

    def __init__(self, studio: Studio, transformer: FluxTransformer2DModel) -> None:
        self.studio, self.transformer = studio, transformer

    def loss(self, layout: Layout) -> Tensor:
        """The mean squared error of the velocity on one batch."""
        studio, count = self.studio, self.studio.batch_size(layout)
        latents = studio.latents(layout.canvas)
        captions = studio.draw_captions(count, len(latents), EMPTY_PROMPT_SHARE)
        pictures = latents[captions.scenes].float()
        noise, times = torch.randn_like(pictures), sample_times(count, studio.device)
        predicted = predict_velocity(
            studio,
            self.transformer,
            mix(pictures, noise, times),
            times,
            studio.prompts(captions.clip_ids, captions.t5_ids, layout.text_length),
            layout,
            # Without a meaning yet: any guidance is to give the same picture.
            guidance=MAX_GUIDANCE * torch.rand(count, device=studio.device),
        )
        return (predicted - (noise - pictures)).square().mean()

    def advance(self, spent: float) -> None:
        """Nothing changes while training."""


def sample_times(count: int, device: torch.device) -> Tensor:
    """Noise levels in 0..1, one per stratum: denser where the shapes are decided, near noise."""
    strata = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    normal = torch.special.ndtri(strata.clamp(1e-6, 1 - 1e-6))
    uniform = torch.rand(count, device=device)
    dense = torch.sigmoid(TIMES_MEAN + TIMES_SPREAD * normal)
    is_uniform = torch.rand(count, device=device) < UNIFORM_SHARE
    times = torch.where(is_uniform, uniform, dense)
    return times.clamp(min=1e-3)


def mix(pictures: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Pictures on their straight way to noise: at time 0 the picture, at 1 the noise."""
    return torch.lerp(pictures, noise, times[:, None, None])


def predict_velocity(
    studio: Studio,
    transformer: FluxTransformer2DModel,
    tokens: Tensor,
    times: Tensor,
    prompt: Prompt,
    layout: Layout,
    guidance: Tensor | None,
    references: Tensor | None = None,
    attention_bias: Tensor | None = None,
) -> Tensor:
    """The transformer's velocity (B, tokens, 64) in single precision.

    `references` are the tokens of a second picture of the same size, which Kontext looks at.
    `attention_bias` (B, 1, 1, all tokens) is added wherever a token is attended to.
    """
    embeddings, pooled = prompt
    ids, count = studio.image_ids(layout.canvas), tokens.shape[1]
    if references is not None:
        elsewhere = ids.clone()
        elsewhere[:, 0] = 1
        ids = torch.cat((ids, elsewhere))
        tokens = torch.cat((tokens, references), 1)
    velocity = transformer(
        hidden_states=tokens.to(studio.dtype),
        encoder_hidden_states=embeddings,
        pooled_projections=pooled,
        timestep=times,
        img_ids=ids,
        txt_ids=torch.zeros(embeddings.shape[1], 3, device=tokens.device),
        guidance=guidance,
        joint_attention_kwargs={"attention_mask": attention_bias},
        return_dict=False,
    )[0]
    return velocity[:, :count].float()
