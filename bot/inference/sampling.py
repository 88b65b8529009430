"""Words, images and noise on their way through the models: encode, denoise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import DiffusionPipeline, FluxPipeline, FluxPriorReduxPipeline
from PIL import Image

from bot.inference.types import Request
from bot.inference.watch import Step

Preview = Callable[..., bytes]
"""Draws a preview from two successive latents, their sigmas, and width and height in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """A prompt as the transformer reads it: T5's (1, tokens, 4096) and CLIP's pooled (1, 768).

    The tokens of images come after those of T5. Without words the pooled vector is None, for zeros.
    """

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor | None

    @property
    def bytes(self) -> int:
        """What the tensors take in memory."""
        tensors = [self.prompt_embeds, self.pooled_prompt_embeds]
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)


@torch.inference_mode()
def encode(pipeline: FluxPipeline, prompt: str, max_sequence_length: int) -> Embeddings:
    """Encode a prompt with T5 and CLIP, padded to `max_sequence_length` T5 tokens."""
    prompt_embeds, pooled_prompt_embeds, _ = pipeline.encode_prompt(
        prompt=prompt,
        device=pipeline.text_encoder_2.device,
        max_sequence_length=max_sequence_length,
    )
    return Embeddings(prompt_embeds=prompt_embeds, pooled_prompt_embeds=pooled_prompt_embeds)


@torch.inference_mode()
def encode_images(
    prior: FluxPriorReduxPipeline, images: Sequence[Image.Image], strength: float
) -> torch.Tensor:
    """Return the tokens (1, images · patches, 4096) of RGB images one after the other.

    `strength` scales them, and not the words, as the weights of diffusers' FluxPriorReduxPipeline
    do. That adds up the tokens of several images, which gave neither image's colours in four of
    five blends; side by side the transformer attends to each, as in ComfyUI's chained style models.
    """
    device = prior.image_encoder.device
    hidden_states = prior.encode_image(list(images), device, 1)
    tokens: torch.Tensor = prior.image_embedder(hidden_states).image_embeds
    return strength * tokens.flatten(0, 1)[None]


def steer(
    text: Embeddings | None, image_tokens: torch.Tensor, max_sequence_length: int
) -> Embeddings:
    """Put the tokens of images behind those of a prompt; without one it is zeros, as in diffusers.

    `image_tokens` is (1, patches, 4096).
    """
    if text is None:
        silence = image_tokens.new_zeros(1, max_sequence_length, image_tokens.shape[-1])
        text = Embeddings(prompt_embeds=silence, pooled_prompt_embeds=None)
    return Embeddings(
        prompt_embeds=torch.cat([text.prompt_embeds, image_tokens], dim=1),
        pooled_prompt_embeds=text.pooled_prompt_embeds,
    )


def count_tokens(pipeline: FluxPipeline, prompt: str) -> int:
    """Return how many tokens a prompt has for T5, also where the model does not read them all."""
    return len(pipeline.tokenizer_2(prompt, verbose=False).input_ids)


@torch.inference_mode()
def denoise(
    pipeline: DiffusionPipeline,
    request: Request,
    size: tuple[int, int],
    arguments: Mapping[str, Any],
    embeddings: Embeddings,
    seed: int,
    step: Step,
    preview: Preview | None = None,
) -> torch.Tensor:
    """Draw packed latents (1, height/16 · width/16, 64) from the noise of `seed`.

    `size` is width and height in pixels, `arguments` what the pipeline is shown beside the prompt.
    The noise comes from the CPU's generator, so that a seed means the same on every device.
    """
    before: torch.Tensor | None = None

    def on_step_end(
        pipeline: DiffusionPipeline, index: int, _: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        nonlocal before
        after = tensors["latents"]
        sketch = None
        if preview is not None and before is not None:
            sigmas = tuple(pipeline.scheduler.sigmas[index : index + 2].tolist())
            sketch = partial(preview, before, after, sigmas, size)
        before = after
        step(sketch)
        return tensors

    width, height = size
    latents: torch.Tensor = pipeline(
        prompt_embeds=embeddings.prompt_embeds,
        pooled_prompt_embeds=_pooled(pipeline, embeddings),
        height=height,
        width=width,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale or 0.0,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
        callback_on_step_end=on_step_end,
        **arguments,
    ).images
    return latents


def _pooled(pipeline: DiffusionPipeline, embeddings: Embeddings) -> torch.Tensor:
    if embeddings.pooled_prompt_embeds is not None:
        return embeddings.pooled_prompt_embeds
    return embeddings.prompt_embeds.new_zeros(1, pipeline.transformer.config.pooled_projection_dim)
