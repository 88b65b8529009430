"""One request from prompt to PNG: encode, denoise, decode, each stage timed."""

from __future__ import annotations

import io
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image, ImageStat
from PIL.PngImagePlugin import PngInfo

from bot.errors import OutOfMemory, UnusablePicture
from bot.inference import memory
from bot.inference.memory import MemoryMeter
from bot.inference.pipelines import Pipelines
from bot.inference.quantization import Loaded
from bot.inference.tools import TOOLS, Tool
from bot.inference.types import Progress, Quantization, Request, Result, Stage

_log = logging.getLogger(__name__)

BLACK = 2.0
"""Mean luminosity, 0 to 255, under which a picture counts as failed: NaN decodes to 0."""

Report = Callable[[Progress], None]


class Cancelled(Exception):
    """The job was called off between two steps."""


class Engine:
    """Runs requests one after the other on the pipelines of one device."""

    def __init__(self, pipelines: Pipelines, device: torch.device) -> None:
        self._pipelines = pipelines
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
        watch = _Watch(report, cancelled, self._meter)
        try:
            return self._make(request, watch)
        except torch.OutOfMemoryError:
            _log.warning("out of memory, trying again with all else moved off the device")
        # outside of the handler, whose traceback would keep the tensors alive
        self._pipelines.evict_all()
        try:
            return self._make(request, watch)
        except torch.OutOfMemoryError as error:
            size = f"{request.width}×{request.height}"
            raise OutOfMemory(f"for {request.count} × {size} pixels") from error

    def _make(self, request: Request, watch: _Watch) -> Result:
        attempt = self._attempt(request, request.quantization, watch)
        reason = attempt.fallback_reason
        if attempt.black and attempt.quantization == "8-bit":
            _log.warning("black or non-finite picture, making it once more in full precision")
            attempt = self._attempt(request, "None", watch)
            reason = "8-bit gave a black picture, so it was made again in full precision"
        if not attempt.finite:
            raise UnusablePicture
        notes = list(attempt.notes)
        if attempt.black:
            notes.append("The picture is black, in full precision too.")
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
        tool = TOOLS[request.tool]
        with watch("load"):
            encoders, text_parts = self._pipelines.text_encoders(quantization)
        with watch("encode"):
            embeddings = encode(encoders, request.prompt, tool.max_sequence_length)
            notes = truncation_note(encoders, request.prompt, tool.max_sequence_length)
        with watch("load"):
            denoiser, transformer_parts = self._pipelines.denoiser(tool, quantization)
        with watch("denoise", total=request.count * request.num_inference_steps) as step:
            latents = [denoise(denoiser, request, embeddings, seed, step) for seed in request.seeds]
        with watch("load"):
            vae, vae_parts = self._pipelines.autoencoder()
        with watch("decode"):
            images = [decode(vae, each, request) for each in latents]
        return _Attempt(
            images=images,
            finite=all(bool(torch.isfinite(each).all()) for each in latents),
            quantization=transformer_parts[0].quantization,
            parts=[*text_parts, *transformer_parts, *vae_parts],
            notes=notes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attempt:
    """The pictures of one pass through the stages, and the parts that made them."""

    images: list[Image.Image]
    finite: bool
    quantization: Quantization
    parts: list[Loaded]
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

    def __init__(self, report: Report, cancelled: Callable[[], bool], meter: MemoryMeter) -> None:
        self._report = report
        self._cancelled = cancelled
        self._meter = meter
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, stage: Stage, total: int = 0) -> Iterator[Callable[[], None]]:
        """Time a stage; the function that it gives is called after each of its `total` steps."""
        start, done = time.perf_counter(), 0

        def step() -> None:
            nonlocal done
            done += 1
            self._tell(stage, done, total, time.perf_counter() - start)

        self._tell(stage, 0, total, 0.0)
        try:
            yield step
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def _tell(self, stage: Stage, step: int, total: int, seconds: float) -> None:
        if self._cancelled():
            raise Cancelled
        self._meter.sample()
        self._report(Progress(stage=stage, step=step, total=total, seconds=seconds))


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
    step: Callable[[], None],
) -> torch.Tensor:
    """Draw packed latents (1, height/16 · width/16, 64) from the noise of `seed`.

    The noise comes from the CPU's generator, so that a seed means the same on every device.
    """

    def on_step_end(_: FluxPipeline, __: int, ___: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        step()
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


@torch.inference_mode()
def decode(vae: AutoencoderKL, latents: torch.Tensor, request: Request) -> Image.Image:
    """Decode packed latents to a picture, as the last lines of diffusers' FluxPipeline do."""
    scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)
    unpacked = FluxPipeline._unpack_latents(latents, request.height, request.width, scale_factor)
    unpacked = unpacked / vae.config.scaling_factor + vae.config.shift_factor
    pixels = vae.decode(unpacked.to(vae.dtype), return_dict=False)[0]
    processor = VaeImageProcessor(vae_scale_factor=2 * scale_factor)
    image: Image.Image = processor.postprocess(torch.nan_to_num(pixels, nan=-1.0))[0]
    return image


def luminosity(image: Image.Image) -> float:
    """Return the mean luminosity of a picture, from 0 (black) to 255 (white)."""
    return float(ImageStat.Stat(image.convert("L")).mean[0])


def describe(
    tool: Tool, request: Request, seed: int, quantization: Quantization
) -> dict[str, object]:
    """Return what it takes to make this one picture again."""
    return asdict(request) | {
        "seed": seed,
        "count": 1,
        "quantization": quantization,
        "model": tool.repo_id,
    }


def encode_png(image: Image.Image, parameters: dict[str, object]) -> bytes:
    """Return a picture as PNG, with its parameters as JSON in the text chunk `parameters`."""
    info = PngInfo()
    info.add_itxt("parameters", json.dumps(parameters, ensure_ascii=False))
    buffer = io.BytesIO()
    # level 1 takes a fifth of the time of level 6 for files that are a tenth larger
    image.save(buffer, "PNG", pnginfo=info, compress_level=1)
    return buffer.getvalue()
