"""How long a request will take, learnt from those that were done."""

from __future__ import annotations

import statistics
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from bot.inference.sweeps import variations
from bot.inference.types import Request

GRAIN = 256 * 256
"""Pixels, a sixteenth of a megapixel, that sizes are counted in."""

NEWEST = 0.3
"""Weight of the newest job against all before it."""

SWITCH = 0.05
"""Seconds of loading above which a model was not on the device."""

SWITCHES = 9
"""Switches that the median is taken of."""


@dataclass(kw_only=True, slots=True)
class _Pace:
    """Seconds of one step, and of all but the steps, for one picture."""

    step: float
    rest: float


class Forecasts:
    """How long requests take on this machine, learnt from the jobs it has done."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, str, int], _Pace] = {}
        self._switches: deque[float] = deque(maxlen=SWITCHES)

    def learn(self, request: Request, seconds: Mapping[str, float], quantization: str) -> None:
        """Learn from a job that is done: the seconds of its stages, as in `Result`.

        `quantization` is the one that was used. Stages that were skipped count as no time, for
        the next such job will skip them as often.
        """
        load = seconds.get("load", 0.0)
        if load > SWITCH:
            self._switches.append(load)
        if "denoise" not in seconds:
            return
        step = seconds["denoise"] / (_steps(request) * request.count)
        stages = (seconds.get(stage, 0.0) for stage in ("annotate", "encode", "decode"))
        rest = sum(stages) / request.count
        key = (quantization, request.tool, _size(request))
        pace = self._paces.setdefault(key, _Pace(step=step, rest=rest))
        pace.step += NEWEST * (step - pace.step)
        pace.rest += NEWEST * (rest - pace.rest)

    def seconds(self, request: Request) -> float | None:
        """Return how long a request will take without waiting and loading.

        Judged by the nearest size of the same tool, else of any tool, at the same quantization;
        None as long as nothing was learnt there.
        """
        seconds = [self._seconds(each) for each in variations(request)]
        known = [each for each in seconds if each is not None]
        return sum(known) if len(known) == len(seconds) else None

    def _seconds(self, request: Request) -> float | None:
        paces = self._comparable(request)
        if not paces:
            return None
        size = _size(request)
        nearest = min(paces, key=lambda other: max(other / size, size / other))
        pace = paces[nearest]
        picture = _steps(request) * pace.step + pace.rest
        return request.count * picture * size / nearest

    def load_seconds(self) -> float:
        """Return what a switch of models took of late; 0 if there was none."""
        return statistics.median(self._switches) if self._switches else 0.0

    def _comparable(self, request: Request) -> dict[int, _Pace]:
        """Return what is known by size; for a tool that was never used, the mean of the others."""
        others: defaultdict[int, list[_Pace]] = defaultdict(list)
        same = {}
        for (quantization, tool, size), pace in self._paces.items():
            if quantization != request.quantization:
                continue
            others[size].append(pace)
            if tool == request.tool:
                same[size] = pace
        return same or {size: _mean(paces) for size, paces in others.items()}


def _mean(paces: list[_Pace]) -> _Pace:
    return _Pace(
        step=statistics.fmean(pace.step for pace in paces),
        rest=statistics.fmean(pace.rest for pace in paces),
    )


def _steps(request: Request) -> int:
    return max(1, request.num_inference_steps)


def _size(request: Request) -> int:
    """Return the sixteenths of a megapixel: one megapixel where the image will decide it."""
    if request.width is None or request.height is None:
        return 16
    return max(1, round(request.width * request.height / GRAIN))
