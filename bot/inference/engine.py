"""One request from prompt to PNG: encode, denoise, decode, each stage timed."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import FluxPipeline
from PIL import Image

from bot.errors import InferenceError, OutOfMemory, UnusablePicture
from bot.inference import memory
from bot.inference.devices import is_out_of_memory, synchronize
from bot.inference.memory import MemoryMeter
from bot.inference.pictures import (
    Picture,
    decode,
    decode_preview,
    describe,
    encode_png,
    luminosity,
)
from bot.inference.pipelines import Pipelines
from bot.inference.quantization import Part
from bot.inference.tools import TOOLS
from bot.inference.types import Progress, Quantization, Request, Result, Stage

_log = logging.getLogger(__name__)

BLACK = 2.0
"""Mean luminosity, 0 to 255, under which a picture counts as failed: NaN decodes to 0."""

PREVIEW_SECONDS = 2.0
"""Between two previews, so that they take a small part of the time: 46 ms each with the tiny
models on two cores; on a GPU it has not been measured."""

Report = Callable[[Progress], None]

Step = Callable[[Callable[[], bytes] | None], None]
"""Called after a step, with what draws its preview if there can be one."""


class Cancelled(Exception):
    """The job was called off between two steps."""


class Engine:
    """Runs requests one after the other on the pipelines of one device."""

    def __init__(self, pipelines: Pipelines, device: torch.device) -> None:
        self._pipelines = pipelines
        self._device = device
        self._meter = MemoryMeter(device)

    def run(
        self,
        request: Request,
        *,
        report: Report = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Make the pictures of a request.

        `report` is called at each change of stage and step. `cancelled` is asked as often, and
        Cancelled raised when it says so. Black or non-finite pictures are made once more in full
        precision; UnusablePicture is raised when that does not help. When the device runs out of
        memory all else is moved off it and the request tried again; then OutOfMemory is raised.
        """
        self._meter.reset()
        watch = _Watch(report, cancelled, self._meter, self._device)
        try:
            return self._make(request, watch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _log.warning("out of memory, trying again with all else moved off the device")
        # outside of the handler, whose traceback would keep the tensors alive
        self._pipelines.evict_all()
        try:
            return self._make(request, watch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._pipelines.evict_all()
            size = f"{request.width}×{request.height}"
            raise OutOfMemory(f"for {request.count} × {size} pixels") from error

    def _make(self, request: Request, watch: _Watch) -> Result:
        attempt = self._attempt(request, request.quantization, watch)
        reason = attempt.fallback_reason
        notes = list(attempt.notes)
        if attempt.black and attempt.quantization == "8-bit":
            _log.warning("black or non-finite picture, making it once more in full precision")
            try:
                attempt = self._attempt(request, "None", watch)
                reason = "8-bit gave a black picture, so it was made again in full precision"
            except Exception as error:
                if not (isinstance(error, InferenceError) or is_out_of_memory(error)):
                    raise
                _log.warning("it could not be made again: %s", error)
                notes.append("It could not be made again in full precision.")
        if not attempt.finite:
            raise UnusablePicture
        if attempt.black:
            notes.append("The picture is black.")
        tool = TOOLS[request.tool]
        with watch("decode"):
            images = tuple(
                encode_png(image, describe(tool, request, seed, attempt.quantization))
                for image, seed in zip(attempt.images, request.seeds, strict=True)
            )
        return Result(
            images=images,
            seeds=request.seeds,
            seconds=dict(watch.seconds),
            memory=self._meter.stats(
                weights=memory.total([part.weights for part in attempt.parts]),
                resident=self._pipelines.resident.actual,
            ),
            quantization=attempt.quantization,
            fallback_reason=reason,
            notes=tuple(notes),
        )

    def _attempt(self, request: Request, quantization: Quantization, watch: _Watch) -> _Attempt:
        # the stages hand on tensors and figures, no modules: what is evicted must leave memory
        embeddings, text_parts, notes = self._encode(request, quantization, watch)
        latents, transformer = self._denoise(request, quantization, embeddings, watch)
        pictures, autoencoder = self._decode(request, latents, watch)
        return _Attempt(
            images=[picture.image for picture in pictures],
            finite=all(picture.finite for picture in pictures),
            quantization=transformer.quantization,
            parts=[*text_parts, transformer, autoencoder],
            notes=notes,
        )

    def _encode(
        self, request: Request, quantization: Quantization, watch: _Watch
    ) -> tuple[Embeddings, list[Part], list[str]]:
        length = TOOLS[request.tool].max_sequence_length
        with watch("load"):
            encoders, parts = self._pipelines.text_encoders(quantization)
        with watch("encode"):
            embeddings = encode(encoders, request.prompt, length)
        return embeddings, parts, truncation_note(encoders, request.prompt, length)

    def _denoise(
        self,
        request: Request,
        quantization: Quantization,
        embeddings: Embeddings,
        watch: _Watch,
    ) -> tuple[list[torch.Tensor], Part]:
        with watch("load"):
            self._pipelines.autoencoder()  # before the transformer, which may push it out again
            denoiser, part = self._pipelines.denoiser(TOOLS[request.tool], quantization)
            preview = self._preview()
        with watch("denoise", total=request.count * request.num_inference_steps) as step:
            latents = [
                denoise(denoiser, request, embeddings, seed, step, preview)
                for seed in request.seeds
            ]
        return latents, part

    def _preview(self) -> Callable[..., bytes] | None:
        """Return what decodes previews, None where there is no room beside the transformer."""
        if not self._pipelines.has_autoencoder:
            return None
        vae, _ = self._pipelines.autoencoder()
        return partial(decode_preview, vae)

    def _decode(
        self, request: Request, latents: list[torch.Tensor], watch: _Watch
    ) -> tuple[list[Picture], Part]:
        with watch("load"):
            vae, part = self._pipelines.autoencoder()
        with watch("decode"):
            return [decode(vae, each, request) for each in latents], part


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attempt:
    """The pictures of one pass through the stages, and the parts that made them."""

    images: list[Image.Image]
    finite: bool
    quantization: Quantization
    parts: list[Part]
    notes: list[str]

    @property
    def black(self) -> bool:
        """Whether any picture is black, or was made from numbers that are none."""
        return not self.finite or any(luminosity(image) < BLACK for image in self.images)

    @property
    def fallback_reason(self) -> str | None:
        """Why a part is in full precision although 8 bits were asked for."""
        return next((p.fallback_reason for p in self.parts if p.fallback_reason), None)


class _Watch:
    """Times the stages, reports the steps, samples the memory and raises Cancelled."""

    def __init__(
        self,
        report: Report,
        cancelled: Callable[[], bool],
        meter: MemoryMeter,
        device: torch.device,
    ) -> None:
        self._report = report
        self._cancelled = cancelled
        self._meter = meter
        self._device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: Stage, total: int = 0) -> Iterator[Step]:
        """Time a stage; the function that it gives is called after each of its `total` steps."""
        start = previewed = time.perf_counter()
        done = 0

        def step(sketch: Callable[[], bytes] | None) -> None:
            nonlocal done, previewed
            done += 1
            preview = None
            if sketch is not None and time.perf_counter() - previewed >= PREVIEW_SECONDS:
                preview = sketch()
                previewed = time.perf_counter()
            self._tell(stage, done, total, time.perf_counter() - start, preview)

        self._tell(stage, 0, total, 0.0)
        try:
            yield step
            synchronize(self._device)
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def _tell(
        self, stage: Stage, step: int, total: int, seconds: float, preview: bytes | None = None
    ) -> None:
        if self._cancelled():
            raise Cancelled
        self._meter.sample()
        self._report(
            Progress(stage=stage, step=step, total=total, seconds=seconds, preview=preview)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """A prompt as the transformer reads it: T5's (1, tokens, 4096) and CLIP's pooled (1, 768)."""

    prompt_embeds: torch.Tensor
    pooled_prompt_embeds: torch.Tensor


@torch.inference_mode()
def encode(pipeline: FluxPipeline, prompt: str, max_sequence_length: int) -> Embeddings:
    """Encode a prompt with T5 and CLIP, padded to `max_sequence_length` T5 tokens."""
    prompt_embeds, pooled_prompt_embeds, _ = pipeline.encode_prompt(
        prompt=prompt,
        device=pipeline.text_encoder_2.device,
        max_sequence_length=max_sequence_length,
    )
    return Embeddings(prompt_embeds=prompt_embeds, pooled_prompt_embeds=pooled_prompt_embeds)


def truncation_note(pipeline: FluxPipeline, prompt: str, max_sequence_length: int) -> list[str]:
    """Return a sentence if the model does not read the prompt to its end."""
    tokens = len(pipeline.tokenizer_2(prompt, verbose=False).input_ids)
    if tokens <= max_sequence_length:
        return []
    return [f"The prompt has {tokens} tokens; the model read the first {max_sequence_length}."]


@torch.inference_mode()
def denoise(
    pipeline: FluxPipeline,
    request: Request,
    embeddings: Embeddings,
    seed: int,
    step: Step,
    preview: Callable[..., bytes] | None = None,
) -> torch.Tensor:
    """Draw packed latents (1, height/16 · width/16, 64) from the noise of `seed`.

    The noise comes from the CPU's generator, so that a seed means the same on every device.
    """
    before: torch.Tensor | None = None

    def on_step_end(
        pipeline: FluxPipeline, index: int, _: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        nonlocal before
        after = tensors["latents"]
        sketch = None
        if preview is not None and before is not None:
            sigmas = tuple(pipeline.scheduler.sigmas[index : index + 2].tolist())
            sketch = partial(preview, before, after, sigmas, request)
        before = after
        step(sketch)
        return tensors

    latents: torch.Tensor = pipeline(
        prompt_embeds=embeddings.prompt_embeds,
        pooled_prompt_embeds=embeddings.pooled_prompt_embeds,
        height=request.height,
        width=request.width,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale or 0.0,
        generator=torch.Generator("cpu").manual_seed(seed),
        output_type="latent",
        callback_on_step_end=on_step_end,
    ).images
    return latents
