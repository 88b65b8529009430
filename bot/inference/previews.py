"""Mask previews beside a busy GPU: drawn in a light process of their own, without torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from bot.errors import UnusableImage
from bot.i18n import _
from bot.inference.sandbox import Sandbox, limit_decoders, limit_memory, reading_pictures
from bot.inference.types import Region

T = TypeVar("T")

MEMORY = 1024**3
"""Bytes of address space for pictures: 40 megapixels with transparency took 654 MB as WebP, 485 MB
as AVIF and 333 MB as PNG on their way through the decoder."""

SECONDS = 20.0
"""How long a preview may take: 40 megapixels took 1.1 s at most."""


class MaskPreviews:
    """Draws one preview at a time, in a process that is started ahead of need.

    What else is read in the files of members without a model is read there, too.
    """

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._seconds = seconds
        self._sandbox = Sandbox("mask previews", partial(_prepare, memory))

    async def __aenter__(self) -> Self:
        self._sandbox.open()
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

    async def render(self, image: bytes, mask: bytes | None, region: Region) -> bytes:
        """Return the picture with its mask laid over it, as `masks.preview` does.

        Raises UnusableImage also where a file takes too long, or breaks the process.
        """
        with reading_pictures():
            return await self._sandbox.run(_draw, image, mask, region, seconds=self._seconds)

    async def look(self, read: Callable[[bytes], T], content: bytes) -> T:
        """Return what a function of some module finds in a file; raise UnusableImage as above."""
        with reading_pictures():
            return await self._sandbox.run(read, content, seconds=self._seconds)


def _prepare(memory: int) -> None:
    """Load what draws, and be short of memory from then on."""
    limit_decoders()
    from bot.inference import masks  # noqa: F401 - so that it is loaded before the first preview

    limit_memory(memory)


def _draw(image: bytes, mask: bytes | None, region: Region) -> bytes:
    """Draw a preview in the process of the sandbox."""
    from bot.inference import masks

    try:
        return masks.preview(image, mask, region)
    except MemoryError:
        raise UnusableImage(
            _("The attached pictures take more memory than there is."), _("Make them smaller.")
        ) from None
