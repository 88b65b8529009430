"""What decides over the pixels of a picture besides the request: weights, kernels, libraries."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import bot

LIBRARIES = ("torch", "diffusers", "transformers", "optimum-quanto")


def made_with(
    *, model: str, revision: str | None, kernel: str, dtype: str, device: str
) -> dict[str, str]:
    """Return what to compare where a request gives another picture than it once did.

    `revision` is that of the transformer's weights, left out where it is not known.
    """
    known = {} if revision is None else {"revision": revision}
    return {
        "model": model,
        **known,
        "kernel": kernel,
        "dtype": dtype,
        "device": device,
        **versions(),
    }


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that paint, and of this program, by their names."""
    return {name: version(name) for name in LIBRARIES} | {"bot": bot.__version__}
