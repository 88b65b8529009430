"""The tools one after the other on the tiny models: warm, switched to, and with another seed alone.

Run with `python -m benchmarks.tools`. Medians of one run; `--rounds N` sets how many.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import torch
from PIL import Image, ImageDraw

from benchmarks.corridor import processor
from bot.inference import requests
from bot.inference.devices import choose_dtype, quiet_libraries
from bot.inference.engine import Engine
from bot.inference.memory import device_budget
from bot.inference.pipelines import Pipelines
from bot.inference.tools import FAMILIES
from bot.inference.types import Region, Request, Result

TINY = FAMILIES["tiny"]


def photo() -> bytes:
    """Return a red circle on green, 1024×1024 pixels, as PNG."""
    image = Image.new("RGB", (1024, 1024), (40, 160, 60))
    ImageDraw.Draw(image).ellipse((256, 256, 768, 768), fill=(220, 40, 40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def orders(image: bytes) -> dict[str, Callable[[int], Request]]:
    """Return what to ask each tool for, by seed."""
    words = {"image": image, "prompt": "a blue star on a yellow background"}
    return {
        "schnell": lambda seed: requests.text_to_image(
            TINY, model="schnell", prompt=words["prompt"], seed=seed
        ),
        "dev": lambda seed: requests.text_to_image(
            TINY, model="dev", prompt=words["prompt"], seed=seed
        ),
        "fill": lambda seed: requests.fill(TINY, **words, seed=seed, region=Region(area="centre")),
        "kontext": lambda seed: requests.kontext(TINY, **words, seed=seed),
        "depth": lambda seed: requests.depth(TINY, **words, seed=seed),
        "canny": lambda seed: requests.canny(TINY, **words, seed=seed),
        "redux": lambda seed: requests.redux(TINY, images={"image": image}, seed=seed),
    }


def timed(engine: Engine, request: Request) -> tuple[float, Result]:
    """Run a request and return its seconds and its result."""
    start = time.perf_counter()
    result = engine.run(request)
    return time.perf_counter() - start, result


def measure(rounds: int) -> None:
    """Run all tools in turn, each twice, and print the table."""
    device = torch.device("cpu")
    pipelines = Pipelines(
        TINY,
        device=device,
        dtype=choose_dtype(device),
        device_budget=device_budget(device, None),
        host_budget=0,
    )
    engine, asked = Engine(pipelines, device), orders(photo())
    first = {name: timed(engine, ask(0)) for name, ask in asked.items()}
    switched, same = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for number in range(1, rounds + 1):
        for name, ask in asked.items():
            switched[name].append(timed(engine, ask(2 * number))[0])
            seconds, result = timed(engine, ask(2 * number + 1))
            same[name].append(seconds)
            assert not {"encode", "annotate"} & set(result.seconds), "read or looked at again"
    print(f"{processor()}, Python {platform.python_version()}, {rounds} rounds\n")
    print("| tool | first | annotate, then | encode, then | warm | switched to, more | goal |")
    print("|---|---|---|---|---|---|---|")
    for name, (seconds, result) in first.items():
        warm = statistics.median(same[name])
        more = statistics.median(
            after - before for after, before in zip(switched[name], same[name], strict=True)
        )
        annotate = f"{1000 * result.seconds.get('annotate', 0):.0f} ms, 0"
        encode = f"{1000 * result.seconds.get('encode', 0):.0f} ms, 0"
        print(
            f"| {name} | {seconds:.2f} s | {annotate} | {encode} | {warm:.2f} s"
            f" | {1000 * more:.0f} ms | ≤ 100 ms |"
        )


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    quiet_libraries()
    measure(rounds)


if __name__ == "__main__":
    main()
