"""What is on the device: components loaded once, shared between the tools, evicted by a budget.

A stage of a job (encode, denoise, decode) asks for the few components that it needs. They are
loaded on first use, kept, and moved to the device; when the budget is short, the least recently
used of the others leaves for host memory, and from there it is dropped.
"""

from __future__ import annotations

import gc
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxPriorReduxPipeline,
    FluxTransformer2DModel,
)
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    DepthAnythingForDepthEstimation,
    DPTImageProcessorPil,
    SiglipImageProcessorPil,
    SiglipVisionModel,
    T5EncoderModel,
    T5TokenizerFast,
)

from bot.errors import ModelUnavailable, OutOfMemory
from bot.inference import memory
from bot.inference.quantization import Loaded, Part, load_quantized
from bot.inference.tools import DEPTH_REPO, SHARED_REPO, Family, Tool
from bot.inference.types import Quantization, Weights
from bot.units import format_bytes

_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """Names one set of weights: the part of a repository, and how it is quantised.

    The part is the folder, for repositories that have folders.
    """

    repo_id: str
    part: str
    quantization: Quantization


_VAE = Key(SHARED_REPO, "vae", "None")


@dataclass(slots=True)
class Component:
    """One set of weights and where it lies."""

    loaded: Loaded
    on_device: bool = False

    @property
    def bytes(self) -> int:
        """What the weights take, wherever they lie."""
        return self.loaded.part.weights.actual


_DEPTH_ESTIMATOR = "depth_estimator"

_MODELS: dict[str, type[Any]] = {
    "transformer": FluxTransformer2DModel,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
    "image_encoder": SiglipVisionModel,
    "image_embedder": ReduxImageEncoder,
    "vae": AutoencoderKL,
    _DEPTH_ESTIMATOR: DepthAnythingForDepthEstimation,
}

_QUANTIZED = frozenset({"transformer", "text_encoder_2", "image_encoder", "image_embedder"})
"""CLIP is 1 % of the parameters, and the depth estimator a fifth of that; the autoencoder works in
convolutions: little to save."""

_PIPELINES: dict[str, type[DiffusionPipeline]] = {
    each.__name__: each
    for each in (FluxPipeline, FluxFillPipeline, FluxKontextPipeline, FluxControlPipeline)
}


class Pipelines:
    """Owns the components of one device and builds diffusers pipelines from them.

    `device_budget` and `host_budget` are bytes of weights. On the CPU and on MPS both are the same
    memory, and what leaves is dropped at once. A pipeline that a method returns is for one stage:
    while it is held, its components stay in memory even if they are evicted.
    """

    def __init__(
        self,
        family: Family,
        *,
        device: torch.device,
        dtype: torch.dtype,
        device_budget: int,
        host_budget: int,
        token: str | None = None,
        depth_repo_id: str = DEPTH_REPO,
    ) -> None:
        self.family = family
        self._device = device
        self._dtype = dtype
        self._device_budget = device_budget
        self._host_budget = host_budget if device.type == "cuda" else 0
        self._token = token
        self._depth_repo_id = depth_repo_id
        self._components: OrderedDict[Key, Component] = OrderedDict()  # least recently used first
        self._processors: dict[tuple[str, str], Any] = {}
        self._schedulers: dict[str, FlowMatchEulerDiscreteScheduler] = {}

    def text_encoders(self, quantization: Quantization) -> tuple[FluxPipeline, list[Part]]:
        """Return a pipeline that can `encode_prompt` and nothing else, and its parts."""
        clip, t5 = self._acquire(
            Key(SHARED_REPO, "text_encoder", "None"),
            Key(SHARED_REPO, "text_encoder_2", quantization),
        )
        pipeline = FluxPipeline(
            scheduler=self._scheduler(SHARED_REPO),
            vae=None,
            text_encoder=clip.module,
            tokenizer=self._processor(SHARED_REPO, "tokenizer", CLIPTokenizer),
            text_encoder_2=t5.module,
            tokenizer_2=self._processor(SHARED_REPO, "tokenizer_2", T5TokenizerFast),
            transformer=None,
        )
        return pipeline, [clip.part, t5.part]

    def image_prior(
        self, tool: Tool, quantization: Quantization
    ) -> tuple[FluxPriorReduxPipeline, list[Part]]:
        """Return a pipeline that can encode images for a prompt and nothing else, and its parts."""
        encoder, embedder = self._acquire(
            Key(tool.repo_id, "image_encoder", quantization),
            Key(tool.repo_id, "image_embedder", quantization),
        )
        pipeline = FluxPriorReduxPipeline(
            image_encoder=encoder.module,
            feature_extractor=self._processor(
                tool.repo_id, "feature_extractor", SiglipImageProcessorPil
            ),
            image_embedder=embedder.module,
        )
        return pipeline, [encoder.part, embedder.part]

    def depth_estimator(self) -> tuple[DepthAnythingForDepthEstimation, DPTImageProcessorPil, Part]:
        """Return what tells near from far, and what prepares a picture for it."""
        (estimator,) = self._acquire(Key(self._depth_repo_id, _DEPTH_ESTIMATOR, "None"))
        processor = self._processor(self._depth_repo_id, "", DPTImageProcessorPil)
        return estimator.module, processor, estimator.part

    def denoiser(self, tool: Tool, quantization: Quantization) -> tuple[DiffusionPipeline, Part]:
        """Return a pipeline that takes prompt embeddings and gives latents, and its transformer.

        Where it is shown images, the autoencoder is part of it.
        """
        keys = [Key(tool.transformer_repo_id, "transformer", quantization)]
        if tool.pipeline != FluxPipeline.__name__:
            keys.append(_VAE)
        transformer, *others = self._acquire(*keys)
        pipeline = _PIPELINES[tool.pipeline](
            scheduler=self._scheduler(tool.transformer_repo_id),
            vae=others[0].module if others else None,
            text_encoder=None,
            tokenizer=None,
            text_encoder_2=None,
            tokenizer_2=None,
            transformer=transformer.module,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline, transformer.part

    def autoencoder(self) -> tuple[AutoencoderKL, Part]:
        """Return the autoencoder on the device."""
        (vae,) = self._acquire(_VAE)
        return vae.module, vae.part

    @property
    def has_autoencoder(self) -> bool:
        """Whether the autoencoder is on the device now."""
        return _VAE in self.resident_keys

    @property
    def resident(self) -> Weights:
        """The weights on the device now."""
        return memory.total(
            [c.loaded.part.weights for c in self._components.values() if c.on_device]
        )

    @property
    def resident_keys(self) -> tuple[Key, ...]:
        """The keys of the components on the device, least recently used first."""
        return tuple(key for key, c in self._components.items() if c.on_device)

    @property
    def loaded(self) -> tuple[Key, ...]:
        """The keys of all components in memory, least recently used first."""
        return tuple(self._components)

    def evict_all(self) -> None:
        """Move everything off the device, as after it ran out of memory."""
        for key in self.resident_keys:
            self._evict(key)
        self._release_cache()

    def _acquire(self, *keys: Key) -> list[Loaded]:
        """Bring components to the device, all together, and mark them as used last."""
        for key in keys:
            if key not in self._components:
                self._components[key] = Component(self._load(key))
            self._components.move_to_end(key)
        wanted = [self._components[key] for key in keys]
        try:
            self._make_room(sum(c.bytes for c in wanted if not c.on_device), keep=keys)
            for component in wanted:
                if not component.on_device:
                    component.loaded.module.to(self._device)
                    component.on_device = True
        finally:
            self._trim_host()
        return [component.loaded for component in wanted]

    def _make_room(self, needed: int, *, keep: tuple[Key, ...]) -> None:
        for key in [k for k in self.resident_keys if k not in keep]:
            if self.resident.actual + needed <= self._device_budget:
                return
            self._evict(key, arriving=keep)
            self._release_cache()
        if self.resident.actual + needed > self._device_budget:
            raise OutOfMemory(
                f"for the model: {format_bytes(self.resident.actual + needed)} of weights, "
                f"{format_bytes(self._device_budget)} allowed"
            )

    def _evict(self, key: Key, *, arriving: tuple[Key, ...] = ()) -> None:
        """Move a component to host memory, or drop it; what is `arriving` there stays."""
        component = self._components[key]
        if self._host_budget < component.bytes:
            del self._components[key], component
            _log.info("dropped %s of %s", key.part, key.repo_id)
            return
        component.loaded.module.to("cpu")
        component.on_device = False
        _log.info("moved %s of %s to host memory", key.part, key.repo_id)
        self._trim_host(arriving)

    def _trim_host(self, arriving: tuple[Key, ...] = ()) -> None:
        """Drop the least recently used of what waits in host memory, down to its budget."""
        waiting = [k for k, c in self._components.items() if not c.on_device and k not in arriving]
        excess = sum(self._components[k].bytes for k in waiting) - self._host_budget
        for key in waiting:
            if excess <= 0:
                return
            excess -= self._components.pop(key).bytes
            _log.info("dropped %s of %s from host memory", key.part, key.repo_id)

    def _release_cache(self) -> None:
        gc.collect()  # diffusers' pipelines refer to themselves, and so outlive their last use
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()

    def _load(self, key: Key) -> Loaded:
        start = time.perf_counter()
        name = f"{key.part} of {key.repo_id}"

        def load() -> torch.nn.Module:
            model: torch.nn.Module = self._from_pretrained(
                key.repo_id,
                _MODELS[key.part].from_pretrained,
                subfolder="" if key.part == _DEPTH_ESTIMATOR else key.part,
                torch_dtype=self._dtype,
                use_safetensors=True,
            )
            if key.part == "image_encoder":
                _drop_pooling(model)
            return model.eval().requires_grad_(False)

        wanted: Quantization = key.quantization if key.part in _QUANTIZED else "None"
        loaded = load_quantized(name, load, wanted)
        _log.info("%s: loaded in %.1f s", name, time.perf_counter() - start)
        return loaded

    def _scheduler(self, repo_id: str) -> FlowMatchEulerDiscreteScheduler:
        """Return a scheduler of its own for each pipeline: it keeps the state of a run."""
        if repo_id not in self._schedulers:
            self._schedulers[repo_id] = self._from_pretrained(
                repo_id, FlowMatchEulerDiscreteScheduler.from_pretrained, subfolder="scheduler"
            )
        return FlowMatchEulerDiscreteScheduler.from_config(self._schedulers[repo_id].config)

    def _processor(self, repo_id: str, part: str, kind: type[Any]) -> Any:
        """Return a tokenizer, or what prepares images; they hold no weights, and stay."""
        if (repo_id, part) not in self._processors:
            self._processors[repo_id, part] = self._from_pretrained(
                repo_id, kind.from_pretrained, subfolder=part
            )
        return self._processors[repo_id, part]

    def _from_pretrained(self, repo_id: str, load: Callable[..., Any], **options: Any) -> Any:
        """Call `from_pretrained` for a repository of the family; raise ModelUnavailable."""
        try:
            return load(self.family.location(repo_id), token=self._token, **options)
        except OSError as error:
            raise ModelUnavailable(repo_id, _explain(repo_id, error)) from error


def _drop_pooling(encoder: torch.nn.Module) -> None:
    """Take the pooling head off a SigLIP encoder: Redux reads the patches, and would compute it.

    Its attention reads weights as plain tensors, which quanto's are not.
    """
    vision = getattr(encoder, "vision_model", encoder)
    vision.use_head = False
    vision.head = torch.nn.Identity()


def _explain(repo_id: str, error: BaseException) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(c, GatedRepoError) or "gated repo" in str(c) for c in causes):
        return (
            f"it is gated. The operator accepts its licence at https://huggingface.co/{repo_id} "
            "and sets HF_TOKEN."
        )
    if any(isinstance(c, RepositoryNotFoundError) for c in causes):
        return "the hub does not know it, or HF_TOKEN has no access to it."
    return f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
