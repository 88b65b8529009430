"""What is on the device: components loaded once, shared between the tools, evicted by a budget.

A stage of a job (encode, denoise, decode) asks for the few components that it needs. They are
loaded on first use, kept, and moved to the device; when the budget is short, the least recently
used of the others leaves for host memory, and from there it is dropped.
"""

from __future__ import annotations

import gc
import logging
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FluxControlPipeline,
    FluxFillPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxPriorReduxPipeline,
)
from transformers import (
    CLIPTokenizer,
    DepthAnythingForDepthEstimation,
    DPTImageProcessorPil,
    SiglipImageProcessorPil,
    T5TokenizerFast,
)

from bot.errors import OutOfMemory
from bot.i18n import _
from bot.inference import int8, memory
from bot.inference.int8 import Int8Transformer
from bot.inference.offload import HostCopy
from bot.inference.parts import DEPTH_ESTIMATOR, Key, Parts, Watch, unwatched
from bot.inference.quantization import Loaded, Part
from bot.inference.repositories import Repositories
from bot.inference.store import Store
from bot.inference.tools import DEPTH_REPO, SHARED_REPO, Family, Tool
from bot.inference.types import DeviceMemory, Holding, Int8Kernel, Quantization, Weights
from bot.units import format_bytes

_log = logging.getLogger(__name__)


_VAE = Key(SHARED_REPO, "vae", "None")


@dataclass(slots=True)
class Component:
    """One set of weights and where it lies: on the device, in host memory, or both."""

    loaded: Loaded
    int8: Int8Transformer | None = None
    on_device: bool = True
    host_copy: HostCopy | None = None

    @property
    def bytes(self) -> int:
        """What the weights take, wherever they lie."""
        return self.loaded.part.weights.actual

    def leave(self) -> None:
        """Keep the weights in host memory alone."""
        if self.int8 is not None:
            self.int8.release()
        if self.host_copy is None:
            self.host_copy = HostCopy(self.loaded.module)
        self.host_copy.leave()
        self.on_device = False

    def arrive(self, device: torch.device) -> None:
        """Bring the weights to the device; the copy in host memory stays."""
        assert self.host_copy is not None
        self.host_copy.arrive(device)
        self.on_device = True
        if self.int8 is not None:
            self.int8.attach()


_PIPELINES: dict[str, type[DiffusionPipeline]] = {
    each.__name__: each
    for each in (FluxPipeline, FluxFillPipeline, FluxKontextPipeline, FluxControlPipeline)
}


class Pipelines:
    """Owns the components of one device and builds diffusers pipelines from them.

    `device_budget` and `host_budget` are bytes of weights. On the CPU and on MPS both are the same
    memory, and what leaves is dropped at once. In `store_folder` weights are kept at 8 bits, and
    `int8_kernel` says how transformers at 8 bits compute.

    A pipeline that a method returns is for one stage: while it is held, its components stay in
    memory even if they are evicted.
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
        store_folder: Path | None = None,
        int8_kernel: Int8Kernel = "auto",
        watch: Watch = unwatched,
        make_parts: type[Parts] = Parts,
    ) -> None:
        self.family = family
        self.device = device
        self.dtype = dtype
        self._device_budget = device_budget
        self._host_budget = host_budget if device.type == "cuda" else 0
        self.parts = make_parts(
            Repositories(family=family, token=token, notes=store_folder),
            device=device,
            dtype=dtype,
            store=Store(store_folder, dtype) if store_folder else None,
            watch=watch,
        )
        self._int8_kernel = int8_kernel
        self._depth_key = Key(depth_repo_id, DEPTH_ESTIMATOR, "None")
        self._components: OrderedDict[Key, Component] = OrderedDict()  # least recently used first

    def text_encoders(self, quantization: Quantization) -> tuple[FluxPipeline, list[Part]]:
        """Return a pipeline that can `encode_prompt` and nothing else, and its parts."""
        clip, t5 = self._acquire(*_text_encoder_keys(quantization))
        pipeline = FluxPipeline(
            scheduler=self.parts.scheduler(SHARED_REPO),
            vae=None,
            text_encoder=clip.module,
            tokenizer=self.parts.processor(SHARED_REPO, "tokenizer", CLIPTokenizer),
            text_encoder_2=t5.module,
            tokenizer_2=self.parts.processor(SHARED_REPO, "tokenizer_2", T5TokenizerFast),
            transformer=None,
        )
        return pipeline, [clip.part, t5.part]

    def image_prior(
        self, tool: Tool, quantization: Quantization
    ) -> tuple[FluxPriorReduxPipeline, list[Part]]:
        """Return a pipeline that can encode images for a prompt and nothing else, and its parts."""
        encoder, embedder = self._acquire(*_prior_keys(tool, quantization))
        pipeline = FluxPriorReduxPipeline(
            image_encoder=encoder.module,
            feature_extractor=self.parts.processor(
                tool.repo_id, "feature_extractor", SiglipImageProcessorPil
            ),
            image_embedder=embedder.module,
        )
        return pipeline, [encoder.part, embedder.part]

    def depth_estimator(self) -> tuple[DepthAnythingForDepthEstimation, DPTImageProcessorPil, Part]:
        """Return what tells near from far, and what prepares a picture for it."""
        (estimator,) = self._acquire(self._depth_key)
        processor = self.parts.processor(self._depth_key.repo_id, "", DPTImageProcessorPil)
        return estimator.module, processor, estimator.part

    def denoiser(self, tool: Tool, quantization: Quantization) -> tuple[DiffusionPipeline, Part]:
        """Return a pipeline that takes prompt embeddings and gives latents, and its transformer.

        Where it is shown images, the autoencoder is part of it.
        """
        keys = [_transformer_key(tool, quantization)]
        if tool.pipeline != FluxPipeline.__name__:
            keys.append(_VAE)
        transformer, *others = self._acquire(*keys)
        pipeline = _PIPELINES[tool.pipeline](
            scheduler=self.parts.scheduler(tool.transformer_repo_id),
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

    def load_all(self, tool: Tool, quantization: Quantization) -> None:
        """Bring to the device, one after the other, all that a job of a tool asks for."""
        self.text_encoders(quantization)
        if tool.base_repo_id is not None:
            self.image_prior(tool, quantization)
        if tool.name == "depth":
            self.depth_estimator()
        self.denoiser(tool, quantization)
        self.autoencoder()

    def keys(self, tool: Tool, quantization: Quantization) -> list[Key]:
        """Return the keys of all weights that a job of a tool asks for."""
        keys = [*_text_encoder_keys(quantization), _transformer_key(tool, quantization), _VAE]
        if tool.base_repo_id is not None:
            keys += _prior_keys(tool, quantization)
        if tool.name == "depth":
            keys.append(self._depth_key)
        return keys

    def kernel(self, tool: Tool, quantization: Quantization) -> Literal["fused", "quanto", "none"]:
        """Return what multiplies the weights of a tool's transformer at 8 bits, if they are."""
        component = self._components.get(_transformer_key(tool, quantization))
        if component is None or component.loaded.part.quantization == "None":
            return "none"
        return "fused" if component.int8 and component.int8.failure is None else "quanto"

    def int8_failure(self, tool: Tool) -> str | None:
        """Return why a tool's transformer no longer computes in 8 bits, if it did."""
        component = self._components.get(_transformer_key(tool, "8-bit"))
        return component.int8.failure if component and component.int8 else None

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

    def memory(self) -> DeviceMemory:
        """Return what is in memory now; another thread may ask, in the middle of a job."""
        free, total = memory.capacity(self.device)
        return DeviceMemory(
            device=memory.device_name(self.device),
            free=free,
            total=total,
            budget=self._device_budget,
            host_budget=self._host_budget,
            holdings=tuple(
                Holding(
                    repo_id=key.repo_id,
                    part=key.part,
                    quantization=component.loaded.part.quantization,
                    on_device=component.on_device,
                    weights=component.loaded.part.weights,
                )
                for key, component in list(self._components.items())
            ),
        )

    def evict_all(self) -> None:
        """Move everything off the device, as after it ran out of memory."""
        for key in self.resident_keys:
            self._evict(key)
        self._release_cache()

    def drop_all(self) -> None:
        """Forget everything that is loaded, on the device and beside it."""
        self._components.clear()
        self._release_cache()

    def _acquire(self, *keys: Key) -> list[Loaded]:
        """Bring components to the device, all together, and mark them as used last."""
        for key in keys:
            if key not in self._components:
                # before it is loaded: what goes straight to the device needs the room at once
                self._make_room(self.parts.expected_bytes(key), keep=keys)
                loaded = self.parts.load(key)
                self._components[key] = Component(loaded, self._compute_in_int8(key, loaded))
            self._components.move_to_end(key)
        wanted = [self._components[key] for key in keys]
        try:
            self._make_room(sum(c.bytes for c in wanted if not c.on_device), keep=keys)
            for component in wanted:
                if not component.on_device:
                    component.arrive(self.device)
        finally:
            self._trim_host()
        return [component.loaded for component in wanted]

    def _make_room(self, needed: int, *, keep: tuple[Key, ...]) -> None:
        for key in [k for k in self.resident_keys if k not in keep]:
            if self.resident.actual + needed <= self._device_budget:
                return
            self._evict(key, arriving=keep)
        if self.resident.actual + needed > self._device_budget:
            raise OutOfMemory(
                _(
                    "The memory of the device is not enough for the model: {needed} of weights, "
                    "{allowed} allowed.",
                    needed=format_bytes(self.resident.actual + needed),
                    allowed=format_bytes(self._device_budget),
                ),
                self._advice(keep),
            )

    def _advice(self, keys: tuple[Key, ...]) -> str:
        """Return what would fit where these weights do not."""
        eight_bit = [key._replace(quantization="8-bit") for key in keys]
        size = sum(self.parts.expected_bytes(key) for key in eight_bit)
        if list(keys) != eight_bit and size <= self._device_budget:
            return _("Use `quantization: 8-bit`, which takes {size}.", size=format_bytes(size))
        return _("The operator needs a larger GPU, or raises GPU_MEMORY_GB if this one has more.")

    def _evict(self, key: Key, *, arriving: tuple[Key, ...] = ()) -> None:
        """Move a component to host memory, or drop it; what is `arriving` there stays."""
        component = self._components[key]
        if self._host_budget < component.bytes:
            del self._components[key], component
            _log.info("dropped %s of %s", key.part, key.repo_id)
            self._release_cache()
            return
        component.leave()
        _log.info("moved %s of %s to host memory", key.part, key.repo_id)
        self._trim_host(arriving)

    def _trim_host(self, arriving: tuple[Key, ...] = ()) -> None:
        """Drop the least recently used of what is in host memory, down to its budget.

        Copies of what is on the device as well go first.
        """
        copies = [(k, c) for k, c in self._components.items() if c.host_copy is not None]
        copies.sort(key=lambda entry: not entry[1].on_device)
        excess = sum(c.bytes for _, c in copies) - self._host_budget
        for key, component in copies:
            if excess <= 0:
                return
            if component.on_device:
                component.host_copy = None
            elif key in arriving:
                continue
            else:
                del self._components[key]
                _log.info("dropped %s of %s from host memory", key.part, key.repo_id)
            excess -= component.bytes

    def _compute_in_int8(self, key: Key, loaded: Loaded) -> Int8Transformer | None:
        """Let a transformer at 8 bits compute in 8 bits too, where that is wanted and possible."""
        if key.part != "transformer" or loaded.part.quantization != "8-bit":
            return None
        if self._int8_kernel == "quanto":
            return None
        reason = int8.obstacle(loaded.module, self.device)
        if reason is not None:
            level = logging.WARNING if self._int8_kernel == "fused" else logging.INFO
            _log.log(level, "%s computes as quanto does: %s", key, reason)
            return None
        transformer = Int8Transformer(loaded.module)
        transformer.attach()
        self._release_cache()  # its layers lay apart before
        _log.info("%s computes in 8 bits", key)
        return transformer

    def _release_cache(self) -> None:
        gc.collect()  # diffusers' pipelines refer to themselves, and so outlive their last use
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()


def _text_encoder_keys(quantization: Quantization) -> tuple[Key, Key]:
    return (
        Key(SHARED_REPO, "text_encoder", "None"),
        Key(SHARED_REPO, "text_encoder_2", quantization),
    )


def _prior_keys(tool: Tool, quantization: Quantization) -> tuple[Key, Key]:
    return (
        Key(tool.repo_id, "image_encoder", quantization),
        Key(tool.repo_id, "image_embedder", quantization),
    )


def _transformer_key(tool: Tool, quantization: Quantization) -> Key:
    return Key(tool.transformer_repo_id, "transformer", quantization)
