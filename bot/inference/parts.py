"""How one part of a repository comes to the device: from its files, or at 8 bits from the store."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import (
    CLIPTextModel,
    DepthAnythingForDepthEstimation,
    PreTrainedModel,
    SiglipVisionModel,
    T5EncoderModel,
)

from bot.inference.memory import weigh
from bot.inference.quantization import (
    Loaded,
    expected_bytes,
    load_quantized,
    quantized,
    skeleton,
)
from bot.inference.repositories import Repositories
from bot.inference.store import NotStored, Source, Store, UnfamiliarWeights, fill
from bot.inference.types import Quantization

_log = logging.getLogger(__name__)


DEPTH_ESTIMATOR, SEGMENTER, CLASSIFIER = "depth_estimator", "segmenter", "classifier"
"""Parts that have a repository to themselves."""

QUANTIZED = frozenset({"transformer", "text_encoder_2", "image_encoder", "image_embedder"})
"""CLIP is 1 % of the parameters, and the depth estimator a fifth of that; the autoencoder works in
convolutions: little to save."""


class Key(NamedTuple):
    """Names one set of weights: the part of a repository, and how it is quantised.

    The part is the folder, for repositories that have folders.
    """

    repo_id: str
    part: str
    quantization: Quantization

    def __str__(self) -> str:
        return f"{self.part} of {self.repo_id}"

    @property
    def label(self) -> str:
        """What it is called beside a bar, where there is little room."""
        return f"{self.repo_id.rpartition('/')[2]}/{self.part}"

    @property
    def folder(self) -> str:
        """The folder of the weights in their repository."""
        return "" if self.part in (DEPTH_ESTIMATOR, SEGMENTER, CLASSIFIER) else self.part

    @property
    def is_quantized(self) -> bool:
        """Whether the weights are to be at 8 bits; some parts never are."""
        return self.quantization == "8-bit" and self.part in QUANTIZED


_MODELS: dict[str, type[Any]] = {
    "transformer": FluxTransformer2DModel,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
    "image_encoder": SiglipVisionModel,
    "image_embedder": ReduxImageEncoder,
    "vae": AutoencoderKL,
    DEPTH_ESTIMATOR: DepthAnythingForDepthEstimation,
}

Watch = Callable[[Key, Source], Iterator[tuple[str, torch.Tensor]]]


def unwatched(_: Key, source: Source) -> Iterator[tuple[str, torch.Tensor]]:
    """Pass on the weights of a part as they come."""
    return source.tensors()


class Parts:
    """Loads the parts of a family's repositories onto one device, and what goes with them.

    Without a `store` a part is quantised each time that it is loaded. `watch` passes on the
    weights of a part while it is quantised, for whoever wants to see how far that is.
    """

    def __init__(
        self,
        repositories: Repositories,
        *,
        device: torch.device,
        dtype: torch.dtype,
        store: Store | None,
        watch: Watch = unwatched,
    ) -> None:
        self.repositories = repositories
        self._device = device
        self._dtype = dtype
        self.store = store
        self._watch = watch
        self._sizes: dict[Key, int] = {}
        self._processors: dict[tuple[str, str], Any] = {}
        self._schedulers: dict[str, FlowMatchEulerDiscreteScheduler] = {}

    def expected_bytes(self, key: Key) -> int:
        """Return what a part will take on the device, from its configuration alone."""
        if key not in self._sizes:
            self._sizes[key] = self._expect(key)
        return self._sizes[key]

    def load(self, key: Key) -> Loaded:
        """Return a part on the device, ready for use; raise ModelUnavailable."""
        start = time.perf_counter()
        load = partial(self._load_in_full_precision, key)
        fetch = partial(self._fetch, key, self.store) if self.store else None
        loaded = load_quantized(str(key), load, "8-bit" if key.is_quantized else "None", fetch)
        _log.info("%s: loaded in %.1f s", key, time.perf_counter() - start)
        part = replace(
            loaded.part, repo_id=key.repo_id, name=key.part, revision=self._revision(key)
        )
        return replace(loaded, part=part)

    def stored(self, key: Key) -> Source | None:
        """Return where a part comes from if it is stored at 8 bits, whole and of this revision."""
        if self.store is None or not key.is_quantized:
            return None
        source = self._source(key, weights=False)
        try:
            self.store.check(source)
        except NotStored:
            return None
        return source

    def scheduler(self, repo_id: str) -> FlowMatchEulerDiscreteScheduler:
        """Return a scheduler of its own for each pipeline: it keeps the state of a run."""
        if repo_id not in self._schedulers:
            self._schedulers[repo_id] = self.repositories.from_pretrained(
                repo_id, FlowMatchEulerDiscreteScheduler.from_pretrained, part="scheduler"
            )
        return FlowMatchEulerDiscreteScheduler.from_config(self._schedulers[repo_id].config)

    def processor(self, repo_id: str, part: str, kind: type[Any]) -> Any:
        """Return a tokenizer, or what prepares images; they hold no weights, and stay."""
        if (repo_id, part) not in self._processors:
            self._processors[repo_id, part] = self.repositories.from_pretrained(
                repo_id, kind.from_pretrained, part=part
            )
        return self._processors[repo_id, part]

    def _revision(self, key: Key) -> str | None:
        """Return what a part that was just loaded is of; None where its files have gone."""
        folder = self.repositories.present(key.repo_id, key.folder)
        if folder is None:
            return None
        source = Source(repo_id=key.repo_id, part=key.part, folder=folder)
        return source.commit or source.digest

    def _expect(self, key: Key) -> int:
        if key.is_quantized:
            # where quanto fails, it will when the part is loaded, which says so and does without
            with contextlib.suppress(Exception):
                return expected_bytes(skeleton(self._empty(key)))
        return weigh(self._empty(key)).actual

    def _load_in_full_precision(self, key: Key) -> torch.nn.Module:
        model: torch.nn.Module = self.repositories.from_pretrained(
            key.repo_id,
            _MODELS[key.part].from_pretrained,
            part=key.folder,
            weights=True,
            torch_dtype=self._dtype,
            use_safetensors=True,
        )
        _drop_pooling(key, model)
        return model.eval().requires_grad_(False).to(self._device)

    def _fetch(self, key: Key, store: Store) -> torch.nn.Module:
        """Return a part at 8 bits: as it is stored, or quantised now and stored for next time."""
        source = self._source(key, weights=False)
        module = skeleton(self._empty(key))
        try:
            store.load(source, module, self._device)
            return module
        except NotStored as reason:
            _log.info("%s at 8 bits %s: it is quantised now", key, reason)
        source = self._source(key, weights=True)
        module = self._quantize(key, source)
        self.keep(key, module, source, store)
        return module

    def keep(self, key: Key, module: torch.nn.Module, source: Source, store: Store) -> None:
        """Store a part that has been quantised; where that fails, it is in memory all the same."""
        try:
            store.save(source, module)
        except OSError as error:
            _log.warning("%s at 8 bits could not be stored: %s", key, error)

    def _quantize(self, key: Key, source: Source) -> torch.nn.Module:
        module = skeleton(self._empty(key))
        try:
            fill(module, self._watch(key, source), self._device, self._dtype)
            return module
        except UnfamiliarWeights as reason:
            _log.warning("%s is loaded as a whole before it is quantised: %s", key, reason)
        del module
        return quantized(self._load_in_full_precision(key))

    def _source(self, key: Key, *, weights: bool) -> Source:
        folder = self.repositories.folder(key.repo_id, key.folder, weights=weights)
        return Source(repo_id=key.repo_id, part=key.part, folder=folder)

    def _empty(self, key: Key) -> torch.nn.Module:
        """Return a part without its weights, which are on the meta device."""
        kind = _MODELS[key.part]
        from_transformers = issubclass(kind, PreTrainedModel)
        read = kind.config_class.from_pretrained if from_transformers else kind.load_config
        config = self.repositories.from_pretrained(key.repo_id, read, part=key.folder)
        with init_empty_weights():
            model: torch.nn.Module = kind(config) if from_transformers else kind.from_config(config)
        if isinstance(model, PreTrainedModel):
            model.tie_weights()
        _drop_pooling(key, model)
        # not the model's own `to`, which warns of layers to keep in float32; there are none
        return torch.nn.Module.to(model, self._dtype)


def _drop_pooling(key: Key, model: torch.nn.Module) -> None:
    """Take the pooling head off a SigLIP encoder: Redux reads the patches, and would compute it.

    Its attention reads weights as plain tensors, which quanto's are not.
    """
    if key.part != "image_encoder":
        return
    vision = getattr(model, "vision_model", model)
    vision.use_head = False
    vision.head = torch.nn.Identity()
