"""What members are told of how their pictures came about, or of what there was no memory for.

In the language that is spoken when it is said: what is kept for later jobs are only the facts.
"""

from __future__ import annotations

from bot.i18n import _, counted, number
from bot.inference.tools import Family
from bot.inference.types import Request


def truncated(tokens: int, length: int) -> list[str]:
    """Return a sentence if the model reads `length` tokens of a prompt that has more."""
    if tokens <= length:
        return []
    note = counted(
        "The prompt has {n} token; the model read the first {length}.",
        "The prompt has {n} tokens; the model read the first {length}.",
        tokens,
        length=number(length),
    )
    return [note]


def slowed(failure: str | None) -> list[str]:
    """Return a sentence if computing in 8 bits failed, and quanto's own way had to do."""
    if failure is None:
        return []
    return [_("Computing in 8 bits failed on this GPU, so it took longer; the log says why.")]


def enlarged(painted: tuple[int, int], canvas: tuple[int, int]) -> list[str]:
    """Return a sentence if what was painted is smaller than the picture that it is laid into.

    Both are width and height in pixels.
    """
    if canvas[0] <= painted[0]:
        return []
    width, height = painted
    note = _(
        "Painted at {width}×{height} and enlarged into the picture.", width=width, height=height
    )
    return [note]


def unquantized(part: str, repo_id: str, failure: str) -> str:
    """Return why a part is in full precision although 8 bits were asked for."""
    return _(
        "quantising {part} of {repo_id} failed ({error})", part=part, repo_id=repo_id, error=failure
    )


def shortage(request: Request) -> str:
    """Return for how large a picture there is no memory; several are made one after the other."""
    if request.width is None:
        return _("The memory of the device is not enough for a picture of the size of the image.")
    return _(
        "The memory of the device is not enough for {width}×{height} pixels.",
        width=request.width,
        height=request.height,
    )


def relief(request: Request, family: Family) -> str:
    """Return what would take less memory than a request."""
    if request.quantization == "None":
        return _("Use `quantization: 8-bit`.")
    width, height = family.pixels("small square")
    if request.width and request.height and request.width * request.height > width * height:
        return _(
            "Try `size: {size}`, {width}×{height} pixels.",
            size=_("small square"),
            width=width,
            height=height,
        )
    return _("The operator lowers GPU_MEMORY_GB, so that weights leave more room for the picture.")
