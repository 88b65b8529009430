"""Words that become a mask, before anything is painted: in a process of its own, with torch.

It is started at the first words, and ends when nobody has used any for a while, for it holds a
model. The mask is kept with the other images of the request: no worker, no restart and no repeat
has to find it again.
"""

from __future__ import annotations

import io
import logging
from concurrent.futures import BrokenExecutor
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bot.errors import ModelUnavailable
from bot.i18n import _
from bot.inference.protocol import WorkerOptions
from bot.inference.sandbox import Sandbox, limit_decoders, limit_memory, reading_pictures

if TYPE_CHECKING:
    from bot.inference.segmentation import Segmenter

_log = logging.getLogger(__name__)

SIDE = 1024
"""Longer side in pixels of the copy that is looked at, and of its mask: the model sees less, and
the preview and the adjustments of a mask need no more."""

MEMORY = 2 * 1024**3
"""Bytes of address space for pictures beside the model: decoding takes a third of it at most."""

LOAD_SECONDS = 600.0
"""How long the model may take to load: 0.6 GB may have to be downloaded first."""

SECONDS = 60.0
"""How long a picture may take: CLIPSeg took 3 s on two busy cores."""

IDLE_SECONDS = 300.0
"""After which the process ends: with CLIPSeg it takes 1.1 GB of memory."""


class MaskFinder:
    """Finds in one picture at a time what words name."""

    def __init__(
        self,
        options: WorkerOptions,
        *,
        seconds: float = SECONDS,
        idle: float = IDLE_SECONDS,
    ) -> None:
        self._options = options
        self._seconds = seconds
        self._sandbox = Sandbox("words to masks", _prepare, idle=idle)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._sandbox.close()

    @property
    def process_ids(self) -> tuple[int, ...]:
        """The ids of the processes that run now."""
        return self._sandbox.process_ids

    async def find(self, image: bytes, words: str) -> bytes:
        """Return a mask as PNG, white where a file that a member attached shows what words name.

        Its longer side has 1024 pixels at most. Raises RequestError where nothing is found,
        UnusableImage for what is no picture, and ModelUnavailable.
        """
        await self._load()
        with reading_pictures():
            return await self._sandbox.run(
                _find, self._options, image, words, seconds=self._seconds
            )

    async def _load(self) -> None:
        try:
            await self._sandbox.run(_load, self._options, seconds=LOAD_SECONDS)
        except ModelUnavailable as error:
            _log.error("words cannot be turned into masks: %s", error)
            raise
        except TimeoutError as error:
            raise self._unavailable(_("it took too long. Please try again.")) from error
        except BrokenExecutor as error:
            raise self._unavailable(_("its process ended. Please try again.")) from error

    def _unavailable(self, reason: str) -> ModelUnavailable:
        return ModelUnavailable(self._options.segmenter, reason)


def _prepare() -> None:
    """Load the libraries, so that the time of a picture is its own."""
    limit_decoders()
    from bot.inference.devices import quiet_libraries

    quiet_libraries()
    from bot.inference import segmentation  # noqa: F401 - so that it is loaded


def _load(options: WorkerOptions) -> None:
    """Load the model in the process of the sandbox."""
    _segmenter(options)


@cache
def _segmenter(options: WorkerOptions) -> Segmenter:
    """Return the model, loaded once, and be short of memory from then on."""
    from bot.inference.segmentation import build_segmenter

    segmenter = build_segmenter(options)
    segmenter.load()
    limit_memory(MEMORY)
    return segmenter


def _find(options: WorkerOptions, image: bytes, words: str) -> bytes:
    """Find what words name in the process of the sandbox."""
    from bot.inference.images import open_image

    mask = _segmenter(options).find(open_image(image, at_most=SIDE), words)
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()
