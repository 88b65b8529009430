"""Looks at finished pictures for what is not for everyone, with a classifier from the hub."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from bot.errors import ClassifierUnavailable, ModelUnavailable
from bot.i18n import ENGLISH, N_, speaking
from bot.inference.protocol import WorkerOptions
from bot.inference.repositories import Repositories
from bot.inference.tools import FAMILIES, UNSAFE_LABELS

_log = logging.getLogger(__name__)

NONE_SET = N_("The operator has to set CLASSIFIER, which names no model.")
SEE_LOG = N_("The operator finds the reason in the log.")


class Classifier:
    """Tells how probably a picture bears one of some labels, in whatever case they are written.

    `repo_id` names a model for image classification, on the hub or in a folder. It is loaded on
    first use and stays, on the CPU in float32: one of the usual size, 86 million parameters, takes
    0.3 GB. Whatever fails raises ClassifierUnavailable, for no picture may pass without a look.
    """

    def __init__(
        self,
        repo_id: str | None = None,
        *,
        labels: Sequence[str] = UNSAFE_LABELS,
        token: str | None = None,
        notes: Path | None = None,
    ) -> None:
        self._repo_id = repo_id
        self._labels = {label.casefold() for label in labels}
        # the id is the hub's or a folder's, whatever family paints
        self._repositories = Repositories(family=FAMILIES["flux"], token=token, notes=notes)
        self._model: Any = None
        self._processor: Any = None
        self._columns: list[int] = []

    @speaking(ENGLISH)  # why it cannot be used is said in the log alone
    def load(self) -> None:
        """Get the model ready, unless it is."""
        if self._model is not None:
            return
        if self._repo_id is None:
            raise ClassifierUnavailable(NONE_SET)
        try:
            self._processor = self._from_pretrained(AutoImageProcessor, backend="pil")
            model, report = self._from_pretrained(
                AutoModelForImageClassification,
                weights=True,
                torch_dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
        except ModelUnavailable as error:
            raise self._unfit(str(error)) from error
        except Exception as error:
            raise self._unfit(_first_line(error)) from error
        if report["missing_keys"]:
            # transformers would go on with a head of random numbers
            raise self._unfit("it is not trained to classify images")
        known = {column: str(label) for column, label in model.config.id2label.items()}
        self._columns = [n for n, label in known.items() if label.casefold() in self._labels]
        if not self._columns:
            names = ", ".join(known.values())
            raise self._unfit(f"it knows none of CLASSIFIER_LABELS, but {names}")
        self._model = model.eval()

    @torch.inference_mode()
    def unsafe(self, pictures: Sequence[Image.Image]) -> tuple[float, ...]:
        """Return for each "RGB" picture how probably (0 to 1) it bears any of the labels."""
        self.load()
        try:
            return tuple(self._probability(picture) for picture in pictures)
        except Exception as error:
            raise self._unfit(_first_line(error)) from error

    def _probability(self, picture: Image.Image) -> float:
        pixels = self._processor(images=picture, return_tensors="pt")
        logits = self._model(**pixels).logits[0]
        # as in transformers' own pipeline: several labels at a time, or one of them
        kind = self._model.config.problem_type
        several = kind == "multi_label_classification" or len(logits) == 1
        probabilities = logits.sigmoid() if several else logits.softmax(0)
        total = float(probabilities[self._columns].sum())
        if math.isnan(total):
            raise ValueError(f"it gave {total} for a probability")
        return min(total, 1.0)

    def _from_pretrained(self, kind: Any, **options: Any) -> Any:
        assert self._repo_id is not None
        return self._repositories.from_pretrained(
            self._repo_id, kind.from_pretrained, trust_remote_code=False, **options
        )

    def _unfit(self, reason: str) -> ClassifierUnavailable:
        """Log the reason, which may name a folder, and return what members read."""
        _log.error("the classifier %s cannot be used: %s", self._repo_id, reason)
        return ClassifierUnavailable(SEE_LOG)


def build_classifier(options: WorkerOptions) -> Classifier:
    """Return the classifier that the settings name, if they do."""
    return Classifier(
        options.classifier,
        labels=options.classifier_labels,
        token=options.hf_token,
        notes=options.store_folder,
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
