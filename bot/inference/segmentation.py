"""Finds in a picture what words name, with CLIPSeg, on the CPU beside whatever the GPU does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, CLIPSegForImageSegmentation

from bot.errors import ModelUnavailable, RequestError
from bot.i18n import _
from bot.inference.images import flatten
from bot.inference.protocol import WorkerOptions
from bot.inference.repositories import Repositories
from bot.inference.tools import FAMILIES, SEGMENTER_REPO

CONFIDENCE = 0.5
"""How probable it has to be of the surest pixel that it shows what was asked for."""

EDGE = 0.5
"""Share of that probability from which on other pixels belong to it."""

THREADS = 4
"""Of the CPU, beside all the rest that it does; CLIPSeg takes 84 GFLOP for a picture."""


class Segmenter:
    """Tells which pixels of a picture show what words name. Source: Lüddecke and Ecker, "Image
    Segmentation Using Text and Image Prompts", 2022.

    The model is loaded on first use and stays, in float32: CLIPSeg takes 0.6 GB.
    """

    def __init__(self, repo_id: str, repositories: Repositories) -> None:
        self._repositories = repositories
        self._repo_id = repo_id
        self._model: Any = None
        self._processor: Any = None
        self._tokenizer: Any = None

    def load(self) -> None:
        """Get the model ready, downloaded if need be; raise ModelUnavailable."""
        if self._model is not None:
            return
        try:
            self._processor = self._from_pretrained(AutoImageProcessor, backend="pil")
            self._tokenizer = self._from_pretrained(AutoTokenizer)
            model, report = self._from_pretrained(
                CLIPSegForImageSegmentation,
                weights=True,
                torch_dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
        except ModelUnavailable:
            raise
        except Exception as error:
            raise ModelUnavailable(self._repo_id, _first_line(error)) from error
        if report["missing_keys"]:
            # transformers would go on with random numbers in their place
            raise ModelUnavailable(self._repo_id, _("it is no CLIPSeg model."))
        torch.set_num_threads(min(THREADS, torch.get_num_threads()))
        self._model = model.eval()

    def find(self, picture: Image.Image, words: str) -> Image.Image:
        """Return a mask "L" of the picture's size: 255 where it shows what words name, 0 elsewhere.

        CLIPSeg itself sees 352 by 352 pixels, whatever the picture has. Raises RequestError where
        nothing is found, and ModelUnavailable.
        """
        logits = self.logits(picture, words)
        surest = _probability(logits.max())
        if not surest >= CONFIDENCE:  # nor where it is no number
            raise RequestError(
                _("`{words}` could not be found in the picture.", words=words.replace("`", "'")),
                _("Try another word for it, or name a part such as `left half`."),
            )
        enlarged = Image.fromarray(logits).resize(picture.size, Image.Resampling.BILINEAR)
        found = _probability(np.asarray(enlarged)) >= EDGE * surest
        return Image.fromarray(np.where(found, 255, 0).astype(np.uint8))

    @torch.inference_mode()
    def logits(self, picture: Image.Image, words: str) -> np.ndarray:
        """Return how surely each pixel shows what words name, as logits in the model's own size."""
        self.load()
        pixels = self._processor(images=flatten(picture), return_tensors="pt")
        tokens = self._tokenizer([words], truncation=True, return_tensors="pt")
        # a picture of another shape is squeezed into the model's square, and so is its mask
        logits: Tensor = self._model(**pixels, **tokens).logits
        levels: np.ndarray = logits.reshape(logits.shape[-2:]).numpy()
        return levels

    def _from_pretrained(self, kind: Any, **options: Any) -> Any:
        return self._repositories.from_pretrained(
            self._repo_id, kind.from_pretrained, trust_remote_code=False, **options
        )


def build_segmenter(options: WorkerOptions) -> Segmenter:
    """Return the segmenter that the settings name; the built-in family has one of its own."""
    repo_id = options.segmenter if options.family == "flux" else SEGMENTER_REPO
    repositories = Repositories(
        family=FAMILIES[options.family], token=options.hf_token, notes=options.store_folder
    )
    return Segmenter(repo_id, repositories)


def _probability(logits: np.ndarray) -> np.ndarray:
    probabilities: np.ndarray = 1 / (1 + np.exp(-logits))
    return probabilities


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
