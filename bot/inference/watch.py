"""The course of a job: its stages timed, its steps reported, its memory sampled, its end obeyed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from bot.inference.devices import synchronize
from bot.inference.memory import MemoryMeter
from bot.inference.types import Progress, Stage

PREVIEW_SECONDS = 2.0
"""Between two previews, so that they take a small part of the time: 46 ms each with the tiny
models on two cores; on a GPU it has not been measured."""

Report = Callable[[Progress], None]

Step = Callable[[Callable[[], bytes] | None], None]
"""Called after a step, with what draws its preview if there can be one."""


class Cancelled(Exception):
    """The job was called off between two steps."""


class Watch:
    """Times the stages of a job, tells of them and raises Cancelled.

    `seconds` has the time of each stage so far, `reused` the stages whose outcome was kept from an
    earlier job.
    """

    def __init__(
        self,
        report: Report,
        cancelled: Callable[[], bool],
        meter: MemoryMeter,
        device: torch.device,
    ) -> None:
        self._report = report
        self._cancelled = cancelled
        self._meter = meter
        self._device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.reused: set[Stage] = set()

    @contextmanager
    def __call__(self, stage: Stage, total: int = 0) -> Iterator[Step]:
        """Time a stage; the function that it gives is called after each of its `total` steps."""
        start = previewed = time.perf_counter()
        done = 0

        def step(sketch: Callable[[], bytes] | None) -> None:
            nonlocal done, previewed
            done += 1
            preview = None
            if sketch is not None and time.perf_counter() - previewed >= PREVIEW_SECONDS:
                preview = sketch()
                previewed = time.perf_counter()
            self._tell(stage, done, total, time.perf_counter() - start, preview)

        self._tell(stage, 0, total, 0.0)
        try:
            yield step
            synchronize(self._device)
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def _tell(
        self, stage: Stage, step: int, total: int, seconds: float, preview: bytes | None = None
    ) -> None:
        if self._cancelled():
            raise Cancelled
        self._meter.sample()
        self._report(
            Progress(stage=stage, step=step, total=total, seconds=seconds, preview=preview)
        )
