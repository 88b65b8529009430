"""One request from prompt to PNG: look at its images, encode, denoise, decode."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from PIL import Image

from bot.errors import InferenceError, OutOfMemory, UnusablePicture
from bot.i18n import _
from bot.inference import memory, notes
from bot.inference.annotators import estimate_depth
from bot.inference.classifier import Classifier
from bot.inference.conditions import Conditions, EstimateDepth, fingerprint, hashes, prepare
from bot.inference.devices import is_out_of_memory
from bot.inference.images import encode_webp
from bot.inference.kept import Kept
from bot.inference.memory import MemoryMeter
from bot.inference.metadata import describe, with_metadata
from bot.inference.pictures import Picture, decode, decode_preview, luminosity
from bot.inference.pipelines import Pipelines
from bot.inference.provenance import made_with
from bot.inference.quantization import Part
from bot.inference.sampling import (
    Embeddings,
    Preview,
    count_tokens,
    denoise,
    encode,
    encode_images,
    steer,
)
from bot.inference.tools import TOOLS
from bot.inference.types import STAGES, DeviceMemory, Quantization, Request, Result
from bot.inference.watch import Report, Watch

_log = logging.getLogger(__name__)

BLACK = 2.0
"""Mean luminosity, 0 to 255, under which a picture counts as failed: NaN decodes to 0."""

CONTROL_SIDE = 512
"""Longer side in pixels of the depth map or edges that are shown beside the picture."""

KEPT_CONDITIONS = 128 * 2**20
KEPT_EMBEDDINGS = 64 * 2**20
"""Bytes of host memory and of the device's for what earlier jobs have seen and read."""


class Engine:
    """Runs requests one after the other on the pipelines of one device."""

    def __init__(
        self,
        pipelines: Pipelines,
        device: torch.device,
        *,
        previews: bool = True,
        classifier: Classifier | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._previews = previews
        self._classifier = classifier or Classifier()
        self._device = device
        self._meter = MemoryMeter(device)
        self._conditions: Kept[Conditions] = Kept(KEPT_CONDITIONS)
        self._embeddings: Kept[_Encoded] = Kept(KEPT_EMBEDDINGS)

    def memory(self) -> DeviceMemory:
        """Return what is in memory now; another thread may ask, in the middle of a job."""
        return self._pipelines.memory()

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
        ClassifierUnavailable is raised where the pictures are to be classified and cannot be.
        """
        self._meter.reset()
        watch = Watch(report, cancelled, self._meter, self._device)
        try:
            return self._make(request, watch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            _log.warning("out of memory, trying again with all else moved off the device")
        # outside of the handler, whose traceback would keep the tensors alive
        self._clear_device()
        try:
            return self._make(request, watch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._clear_device()
            advice = notes.relief(request, self._pipelines.family)
            raise OutOfMemory(notes.shortage(request), advice) from error

    def _clear_device(self) -> None:
        self._embeddings.clear()
        self._pipelines.evict_all()

    def _make(self, request: Request, watch: Watch) -> Result:
        if request.classify:
            with watch("load"):
                self._classifier.load()  # before anything is painted that nobody could look at
        conditions = self._annotate(request, watch)
        attempt = self._attempt(request, conditions, request.quantization, watch)
        reason = attempt.fallback_reason
        said = list(attempt.notes)
        if attempt.black and attempt.quantization == "8-bit":
            _log.warning("black or non-finite picture, making it once more in full precision")
            try:
                attempt = self._attempt(request, conditions, "None", watch)
                reason = _("8-bit gave a black picture, so it was made again in full precision")
            except Exception as error:
                if not (isinstance(error, InferenceError) or is_out_of_memory(error)):
                    raise
                _log.warning("it could not be made again: %s", error)
                said.append(_("It could not be made again in full precision."))
        if not attempt.finite:
            raise UnusablePicture
        if attempt.black:
            said.append(_("The picture is black."))
        if conditions.canvas is not None:
            said += notes.enlarged(conditions.size, conditions.canvas.image.size)
        with watch("decode"):
            pictures = [conditions.finish(image) for image in attempt.images]
            unsafe = self._classifier.unsafe(pictures) if request.classify else ()
            images = _described(request, conditions, attempt, pictures)
        return Result(
            images=images,
            seeds=request.seeds,
            size=pictures[0].size,
            seconds=dict(watch.seconds),
            memory=self._meter.stats(
                weights=memory.total([p.weights for p in (*conditions.parts, *attempt.parts)]),
                resident=self._pipelines.resident.actual,
            ),
            quantization=attempt.quantization,
            control_image=_control_image(conditions),
            fallback_reason=reason,
            # what this job itself did before it was tried once more is not from an earlier one
            reused=tuple(s for s in STAGES if s in watch.reused and s not in watch.seconds),
            notes=tuple(said),
            made_with=attempt.made_with,
            unsafe=unsafe,
        )

    def _annotate(self, request: Request, watch: Watch) -> Conditions:
        """Look at the images of a request, unless an earlier job has."""
        if not request.images:
            return prepare(request, area=self._pipelines.family.area, estimate_depth=None)
        key = fingerprint(request)
        if (kept := self._conditions.get(key)) is not None:
            watch.reused.add("annotate")
            return kept
        estimate, parts = self._depth_estimator(watch) if request.tool == "depth" else (None, ())
        with watch("annotate"):
            conditions = prepare(request, area=self._pipelines.family.area, estimate_depth=estimate)
        conditions = replace(conditions, parts=parts)
        self._conditions.put(key, conditions, conditions.bytes)
        return conditions

    def _depth_estimator(self, watch: Watch) -> tuple[EstimateDepth, tuple[Part, ...]]:
        with watch("load"):
            model, processor, part = self._pipelines.depth_estimator()
        return partial(estimate_depth, model, processor), (part,)

    def _attempt(
        self, request: Request, conditions: Conditions, quantization: Quantization, watch: Watch
    ) -> _Attempt:
        # the stages hand on tensors and figures, no modules: what is evicted must leave memory
        encoded = self._encode(request, conditions, quantization, watch)
        latents, transformer = self._denoise(
            request, conditions, quantization, encoded.embeddings, watch
        )
        tool = TOOLS[request.tool]
        failure = self._pipelines.int8_failure(tool)
        kernel = self._pipelines.kernel(tool, quantization)
        pictures, autoencoder = self._decode(latents, conditions, watch)
        return _Attempt(
            images=[picture.image for picture in pictures],
            finite=all(picture.finite for picture in pictures),
            quantization=transformer.quantization,
            parts=[*encoded.parts, transformer, autoencoder],
            notes=notes.truncated(encoded.tokens, tool.max_sequence_length) + notes.slowed(failure),
            made_with=made_with(
                tool,
                self._pipelines.family,
                revision=transformer.revision,
                kernel=kernel,
                dtype=str(self._pipelines.dtype).removeprefix("torch."),
                device=memory.device_name(self._device),
            ),
        )

    def _encode(
        self,
        request: Request,
        conditions: Conditions,
        quantization: Quantization,
        watch: Watch,
    ) -> _Encoded:
        """Read the prompt and the references of a request, unless an earlier job has."""
        length = TOOLS[request.tool].max_sequence_length
        seen = (fingerprint(request), request.strength) if conditions.references else None
        key = (request.prompt, length, quantization, seen)
        if (kept := self._embeddings.get(key)) is not None:
            watch.reused.add("encode")
            return kept
        encoded = None
        if request.prompt or not conditions.references:
            encoded = self._encode_text(request.prompt, length, quantization, watch)
        if conditions.references:
            encoded = self._encode_images(request, conditions, quantization, encoded, watch)
        assert encoded is not None
        self._embeddings.put(key, encoded, encoded.embeddings.bytes)
        return encoded

    def _encode_text(
        self, prompt: str, length: int, quantization: Quantization, watch: Watch
    ) -> _Encoded:
        with watch("load"):
            encoders, parts = self._pipelines.text_encoders(quantization)
        with watch("encode"):
            embeddings = encode(encoders, prompt, length)
        tokens = count_tokens(encoders, prompt)
        return _Encoded(embeddings=embeddings, parts=parts, tokens=tokens)

    def _encode_images(
        self,
        request: Request,
        conditions: Conditions,
        quantization: Quantization,
        text: _Encoded | None,
        watch: Watch,
    ) -> _Encoded:
        assert request.strength is not None
        tool = TOOLS[request.tool]
        with watch("load"):
            prior, parts = self._pipelines.image_prior(tool, quantization)
        with watch("encode"):
            tokens = encode_images(prior, conditions.references, request.strength)
            embeddings = steer(text.embeddings if text else None, tokens, tool.max_sequence_length)
        return _Encoded(
            embeddings=embeddings,
            parts=[*(text.parts if text else ()), *parts],
            tokens=text.tokens if text else 0,
        )

    def _denoise(
        self,
        request: Request,
        conditions: Conditions,
        quantization: Quantization,
        embeddings: Embeddings,
        watch: Watch,
    ) -> tuple[list[torch.Tensor], Part]:
        with watch("load"):
            self._pipelines.autoencoder()  # before the transformer, which may push it out again
            denoiser, part = self._pipelines.denoiser(TOOLS[request.tool], quantization)
            preview = None if request.classify else self._preview()
        with watch("denoise", total=request.count * request.num_inference_steps) as step:
            latents = [
                denoise(
                    denoiser,
                    request,
                    conditions.size,
                    conditions.arguments,
                    embeddings,
                    seed,
                    step,
                    preview,
                )
                for seed in request.seeds
            ]
        return latents, part

    def _preview(self) -> Preview | None:
        """Return what decodes previews, None where they are off or do not fit beside the rest."""
        if not self._previews:
            return None
        if not self._pipelines.has_autoencoder:
            return None
        vae, _ = self._pipelines.autoencoder()
        return partial(decode_preview, vae)

    def _decode(
        self, latents: list[torch.Tensor], conditions: Conditions, watch: Watch
    ) -> tuple[list[Picture], Part]:
        with watch("load"):
            vae, part = self._pipelines.autoencoder()
        with watch("decode"):
            return [decode(vae, each, conditions.size) for each in latents], part


@dataclass(frozen=True, kw_only=True, slots=True)
class _Encoded:
    """What a request says, in how many of T5's tokens, and the parts that read it."""

    embeddings: Embeddings
    parts: list[Part]
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Attempt:
    """The pictures of one pass through the stages, and the parts that made them."""

    images: list[Image.Image]
    finite: bool
    quantization: Quantization
    parts: list[Part]
    notes: list[str]
    made_with: dict[str, str]

    @property
    def black(self) -> bool:
        """Whether any picture is black, or was made from numbers that are none."""
        return not self.finite or any(luminosity(image) < BLACK for image in self.images)

    @property
    def fallback_reason(self) -> str | None:
        """Why a part is in full precision although 8 bits were asked for."""
        failed = next((part for part in self.parts if part.failure), None)
        if failed is None or failed.failure is None:
            return None
        return notes.unquantized(failed.name, failed.repo_id, failed.failure)


def _described(
    request: Request, conditions: Conditions, attempt: _Attempt, pictures: list[Image.Image]
) -> tuple[bytes, ...]:
    """Return the pictures as PNG that say how they came about."""
    width, height = conditions.size
    painted = replace(
        request, width=width, height=height, count=1, quantization=attempt.quantization
    )
    seen = hashes(request)
    return tuple(
        with_metadata(image, describe(replace(painted, seed=seed), seen, attempt.made_with))
        for image, seed in zip(pictures, request.seeds, strict=True)
    )


def _control_image(conditions: Conditions) -> bytes | None:
    if conditions.control_image is None:
        return None
    return encode_webp(conditions.control_image, side=CONTROL_SIDE)
