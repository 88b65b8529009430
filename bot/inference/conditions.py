"""What a tool's pipeline takes beside the prompt, made from the images that a member attached.

One function for each tool. All sizes are width and height in pixels, as Pillow has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from bot.inference.annotators import canny_edges
from bot.inference.images import fit_size, flatten, open_image
from bot.inference.masks import Canvas, composite, model_inputs, prepare_canvas
from bot.inference.quantization import Part
from bot.inference.types import Request

SEEN_SIDE = 3072
"""Longer side that images are reduced to as they are decoded, where they do not come back in full:
one megapixel at 8:1, the longest that is taken, has 2896."""

REFERENCE_SIDE = 768
"""Longer side of the images that `/redux` looks at: its encoder reduces them to 384×384."""

EstimateDepth = Callable[[Image.Image], Image.Image]
"""Takes an RGB picture and returns its depth map, RGB of the same size, near being bright."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """The size to paint at, and what a pipeline is shown; `arguments` are parameters of its call.

    `control_image` is shown to the member, too. What is painted goes into `canvas`, if there is
    one. `references` are what `/redux` varies. `parts` are the weights that it took to see.
    """

    size: tuple[int, int]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    control_image: Image.Image | None = None
    canvas: Canvas | None = None
    references: tuple[Image.Image, ...] = ()
    parts: tuple[Part, ...] = ()

    @property
    def bytes(self) -> int:
        """What the pictures take in memory."""
        pictures = [v for v in self.arguments.values() if isinstance(v, Image.Image)]
        pictures += self.references
        if self.canvas is not None:
            pictures += [self.canvas.image, self.canvas.mask]
        return sum(p.width * p.height * len(p.getbands()) for p in pictures)

    def finish(self, painted: Image.Image) -> Image.Image:
        """Return the picture for the member: what was painted, laid into the canvas."""
        return painted if self.canvas is None else composite(self.canvas, painted)


def prepare(request: Request, *, area: int, estimate_depth: EstimateDepth | None) -> Conditions:
    """Look at the images of a request; pictures that take after one have about `area` pixels.

    They have fewer where the request allows no more. `estimate_depth` is needed for `depth` alone.
    Raises UnusableImage where a file is not an image that can be worked with, and RequestError
    where it leaves nothing to repaint.
    """
    if request.max_pixels is not None:
        area = min(area, request.max_pixels)
    match request.tool:
        case "fill":
            return _fill(request, area)
        case "kontext":
            return _kontext(request, area)
        case "depth":
            assert estimate_depth is not None
            return _follow(request, area, estimate_depth)
        case "canny":
            low, high = request.low, request.high
            assert low is not None
            assert high is not None
            return _follow(request, area, lambda image: canny_edges(image, low, high))
        case "redux":
            return _redux(request, area)
        case _:
            assert request.width is not None
            assert request.height is not None
            return Conditions(size=(request.width, request.height))


def fingerprint(request: Request) -> str:
    """Return what tells apart requests whose images have to be looked at anew."""
    size = (request.width, request.height, request.max_pixels)
    seen = (request.tool, *size, request.region, request.low, request.high)
    digest = hashlib.sha256(repr(seen).encode())
    for name, sha256 in hashes(request).items():
        digest.update(f"{name}={sha256};".encode())
    return digest.hexdigest()


def hashes(request: Request) -> dict[str, str]:
    """Return the SHA-256 of each image of a request."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in request.images.items()}


def _fill(request: Request, area: int) -> Conditions:
    assert request.region is not None
    image = _open(request, "image")
    mask = _open(request, "mask") if "mask" in request.images else None
    canvas = prepare_canvas(image, mask, request.region)
    size = fit_size(canvas.image.size, area)
    seen, mask_image = model_inputs(canvas, size)
    return Conditions(size=size, arguments={"image": seen, "mask_image": mask_image}, canvas=canvas)


def _kontext(request: Request, area: int) -> Conditions:
    image = _seen(request, "image")
    seen = _resize(image, fit_size(image.size, area))
    width, height = request.width or seen.width, request.height or seen.height
    # the pipeline would scale both to one megapixel, which the tiny models do not know
    sizes = {"max_area": width * height, "_auto_resize": False}
    return Conditions(size=(width, height), arguments={"image": seen} | sizes)


def _follow(
    request: Request, area: int, annotate: Callable[[Image.Image], Image.Image]
) -> Conditions:
    image = _seen(request, "image")
    size = fit_size(image.size, area)
    control_image = annotate(_resize(image, size))
    return Conditions(
        size=size, arguments={"control_image": control_image}, control_image=control_image
    )


def _redux(request: Request, area: int) -> Conditions:
    references = [_seen(request, name) for name in request.images]
    size = fit_size(references[0].size, area)
    for reference in references:
        reference.thumbnail((REFERENCE_SIDE, REFERENCE_SIDE), Image.Resampling.LANCZOS)
    return Conditions(size=size, references=tuple(references))


def _open(request: Request, name: str) -> Image.Image:
    return open_image(request.images[name], name=name)


def _seen(request: Request, name: str) -> Image.Image:
    return flatten(open_image(request.images[name], name=name, at_most=SEEN_SIDE))


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
