"""Make the pictures of `/help` with the tiny models: `python -m tools.examples`.

The engine carries the commands out as it does for members, on the CPU. What is attached to them is
painted first, by schnell. A test makes the pictures anew and compares: after a change of the models
that can be seen, run this once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw

from bot.examples import EXAMPLES
from bot.inference import requests
from bot.inference.engine import Engine
from bot.inference.images import open_image
from bot.inference.masks import preview
from bot.inference.pipelines import Pipelines
from bot.inference.tools import FAMILIES
from bot.inference.types import Region, Request

TINY = FAMILIES["tiny"]
ENOUGH = 10**9
"""Bytes, of which the tiny models take a hundredth."""

STEPS = 12
"""Fewer than by default, and as good for these pictures."""

SIDE = 256
"""Pixels of a side of each picture in the row, twice what the tiny models paint."""
GAP, ARROW_GAP = 8, 48
ARROW = (0x80, 0x84, 0x8E, 0xFF)
"""Grey that can be seen on the light Discord and on the dark one."""
QUALITY = 85


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The pictures of an example: what its command was given and saw in that, and what it made."""

    shown: tuple[bytes, ...] = ()
    made: tuple[bytes, ...]


class Studio:
    """Makes the examples, each from seeds of its own."""

    def __init__(self) -> None:
        cpu = torch.device("cpu")
        pipelines = Pipelines(
            TINY, device=cpu, dtype=torch.float32, device_budget=ENOUGH, host_budget=ENOUGH
        )
        self._engine = Engine(pipelines, cpu, previews=False)

    def make(self, command: str) -> bytes:
        """Return the picture of a command's example as WebP."""
        makers: Mapping[str, Callable[[Mapping[str, str]], Row]] = {
            "generate": self._generate,
            "fill": self._fill,
            "kontext": self._kontext,
            "depth": self._depth,
            "canny": self._canny,
            "redux": self._redux,
        }
        return side_by_side(makers[command](EXAMPLES[command].options))

    def _generate(self, options: Mapping[str, str]) -> Row:
        return Row(made=(self._paint(options["prompt"], seed=1),))

    def _fill(self, options: Mapping[str, str]) -> Row:
        image = self._paint("a large green star left of an orange circle on a purple background", 2)
        region = Region(area=options["area"])
        request = requests.fill(
            TINY, image=image, prompt=options["prompt"], region=region, seed=1, steps=STEPS
        )
        return Row(shown=(image, preview(image, None, region)), made=self._carry_out(request))

    def _kontext(self, options: Mapping[str, str]) -> Row:
        image = self._paint("a large yellow star on a blue background", seed=1)
        request = requests.kontext(TINY, image=image, prompt=options["prompt"], seed=1, steps=STEPS)
        return Row(shown=(image,), made=self._carry_out(request))

    def _depth(self, options: Mapping[str, str]) -> Row:
        image = self._paint("a red ring left of a yellow star on a blue background", seed=3)
        return self._controlled(
            requests.depth(TINY, image=image, prompt=options["prompt"], seed=2, steps=STEPS)
        )

    def _canny(self, options: Mapping[str, str]) -> Row:
        image = self._paint("a large yellow star on a blue background", seed=1)
        return self._controlled(
            requests.canny(TINY, image=image, prompt=options["prompt"], seed=1, steps=STEPS)
        )

    def _redux(self, options: Mapping[str, str]) -> Row:
        image = self._paint("a large orange heart on a cyan background", seed=2)
        request = requests.redux(
            TINY, images={"image": image}, seed=2, steps=STEPS, count=int(options["count"])
        )
        return Row(shown=(image,), made=self._carry_out(request))

    def _paint(self, prompt: str, seed: int) -> bytes:
        request = requests.text_to_image(TINY, model="schnell", prompt=prompt, seed=seed)
        (picture,) = self._carry_out(request)
        return picture

    def _carry_out(self, request: Request) -> tuple[bytes, ...]:
        return self._engine.run(request).images

    def _controlled(self, request: Request) -> Row:
        result = self._engine.run(request)
        assert result.control_image is not None
        return Row(shown=(request.images["image"], result.control_image), made=result.images)


def side_by_side(row: Row) -> bytes:
    """Return pictures in a row as WebP, with an arrow to what was made; around them it is clear."""
    pictures = [_enlarged(each) for each in (*row.shown, *row.made)]
    lefts, left = [], 0
    for number in range(len(pictures)):
        if number:
            left += ARROW_GAP if number == len(row.shown) else GAP
        lefts.append(left)
        left += SIDE
    canvas = Image.new("RGBA", (left, SIDE))
    for picture, x in zip(pictures, lefts, strict=True):
        canvas.paste(picture, (x, 0))
    if row.shown:
        _draw_arrow(canvas, right=lefts[len(row.shown)])
    buffer = io.BytesIO()
    canvas.save(buffer, "WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()


def _enlarged(picture: bytes) -> Image.Image:
    return open_image(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _draw_arrow(canvas: Image.Image, right: int) -> None:
    """Draw a triangle into the gap that ends at `right`."""
    tip, middle, size = right - ARROW_GAP // 3, SIDE // 2, ARROW_GAP // 3
    corners = [(tip, middle), (tip - size, middle - size), (tip - size, middle + size)]
    ImageDraw.Draw(canvas).polygon(corners, fill=ARROW)


def main() -> None:
    """Make all examples."""
    studio = Studio()
    for example in EXAMPLES.values():
        content = studio.make(example.command)
        example.path.write_bytes(content)
        print(f"{example.path}: {len(content) / 1000:.1f} kB")


if __name__ == "__main__":
    main()
