"""What decides over the pixels of a picture besides the request: weights, kernels, libraries."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import bot
from bot.inference.tools import Family, Tool

LIBRARIES = ("torch", "diffusers", "transformers", "optimum-quanto")


def made_with(
    tool: Tool, family: Family, *, revision: str | None, kernel: str, dtype: str, device: str
) -> dict[str, str]:
    """Return what to compare where a request gives another picture than it once did.

    `revision` is that of the transformer's weights, left out where it is not known; where they are
    another repository's than the tool's, it is named.
    """
    elsewhere = tool.transformer_repo_id != tool.repo_id
    return {
        "model": tool.repo_id,
        "weights": family.name,
        **({"transformer": tool.transformer_repo_id} if elsewhere else {}),
        **({} if revision is None else {"revision": revision}),
        "kernel": kernel,
        "dtype": dtype,
        "device": device,
        **versions(),
    }


@cache
def versions() -> dict[str, str]:
    """Return the versions of the libraries that paint, and of this program, by their names."""
    return {name: version(name) for name in LIBRARIES} | {"bot": bot.__version__}
