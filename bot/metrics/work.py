"""What becomes of jobs and how long their parts take, from what their members are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bot.events import Deliver, Ended, JobEvent
from bot.forecasts import SWITCH
from bot.inference.sweeps import variations
from bot.inference.tools import TOOLS
from bot.inference.types import STAGES, Progress, Queued, Request, Result
from bot.records import Job

STATES = ("queued", "delivered", "failed", "cancelled")

SHORT = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300)
"""Seconds: from a tiny model on the CPU to a large one that is downloaded."""
LONG = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""Seconds: from no queue to the whole evening."""
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5)
"""By how much of itself a forecast was wrong."""

WORK = ("annotate", "encode", "denoise", "decode")
"""The stages that a forecast is of: neither waiting nor loading."""

Seconds = Mapping[str, float]


class WorkMetrics:
    """Counts and times jobs; `forecast` says how many seconds a request will take."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.forecast: Callable[[Request], float | None] = lambda _: None
        self._jobs = Counter(
            "fluxbot_jobs", "Jobs by what became of them.", ["tool", "state"], registry=registry
        )
        self._wait = Histogram(
            "fluxbot_wait_seconds",
            "From the command until a worker begins.",
            ["tool"],
            buckets=LONG,
            registry=registry,
        )
        self._stages = Histogram(
            "fluxbot_stage_seconds",
            "The stages of a run: load, annotate, encode, denoise, decode.",
            ["stage", "tool"],
            buckets=SHORT,
            registry=registry,
        )
        self._error = Histogram(
            "fluxbot_forecast_error_ratio",
            "How far a run was from its forecast, as a share of the forecast.",
            ["tool"],
            buckets=SHARES,
            registry=registry,
        )
        self._switches = Counter(
            "fluxbot_model_switches",
            f"Runs that loaded for more than {SWITCH} s: their model was not on the device.",
            ["tool"],
            registry=registry,
        )
        self._reused = Counter(
            "fluxbot_cache_hits",
            "Stages that were spared, for an earlier run had their outcome.",
            ["stage"],
            registry=registry,
        )
        self._peak = Gauge(
            "fluxbot_device_memory_peak_bytes",
            "The most memory that the last job took on a device.",
            ["device"],
            registry=registry,
        )
        self._forecasts: dict[int, float | None] = {}
        # jobs whose pictures Discord did not take, and who were not told so either
        self._untaken: set[int] = set()
        self._begin_at_zero()

    def telling(self, deliver: Deliver) -> Deliver:
        """Return what delivers as `deliver` does, and is measured by."""

        async def tell(job: Job, event: JobEvent) -> bool:
            self._note(job, event)
            taken = False
            try:
                taken = await deliver(job, event)
            finally:
                self._count_end(job, event, taken)
            return taken

        return tell

    def _begin_at_zero(self) -> None:
        """Let what is counted be there from the start: Prometheus sees no step from nothing."""
        for tool in TOOLS:
            self._switches.labels(tool)
            for state in STATES:
                self._jobs.labels(tool, state)
        for stage in ("annotate", "encode"):
            self._reused.labels(stage)

    def _note(self, job: Job, event: JobEvent) -> None:
        if isinstance(event, Queued) and not event.moved:
            self._jobs.labels(job.request.tool, "queued").inc()
        elif isinstance(event, Progress) and job.id not in self._forecasts:
            # now: the queue learns from the result before its member is told
            self._forecasts[job.id] = self.forecast(job.request)
        elif isinstance(event, Result) and job.state == "running":
            # else it was made before, and is brought once more
            self._measure(job, event)
        elif isinstance(event, Queued) and event.restarting:
            self._forecasts.pop(job.id, None)

    def _count_end(self, job: Job, event: JobEvent, taken: bool) -> None:
        if not isinstance(event, Result | Ended):
            return
        self._forecasts.pop(job.id, None)
        if not taken and (isinstance(event, Result) or job.id in self._untaken):
            self._untaken.add(job.id)  # it is brought later, or by the next start
            return
        self._untaken.discard(job.id)
        state = event.state if isinstance(event, Ended) else "delivered"
        self._jobs.labels(job.request.tool, state).inc()

    def _measure(self, job: Job, result: Result) -> None:
        """Note what a job took that was made just now."""
        self._wait.labels(job.request.tool).observe(result.seconds.get("wait", 0.0))
        self._peak.labels(result.memory.device).set(result.memory.peak)
        for request, seconds in _runs(job.request, result):
            self._measure_run(request.tool, seconds)
        for stage in _spared(result):
            self._reused.labels(stage).inc()
        if forecast := self._forecasts.get(job.id):
            took = sum(result.seconds.get(stage, 0.0) for stage in WORK)
            self._error.labels(job.request.tool).observe(abs(took - forecast) / forecast)

    def _measure_run(self, tool: str, seconds: Seconds) -> None:
        for stage in STAGES:
            if stage in seconds:
                self._stages.labels(stage, tool).observe(seconds[stage])
        if seconds.get("load", 0.0) > SWITCH:
            self._switches.labels(tool).inc()


def _runs(request: Request, result: Result) -> Iterator[tuple[Request, Seconds]]:
    """Yield the runs that a job was, each with its seconds: one for each picture of a sweep."""
    if not result.cells:
        yield request, result.seconds
        return
    for each, cell in zip(variations(request), result.cells, strict=True):
        yield each, cell.seconds


def _spared(result: Result) -> Iterator[str]:
    """Yield the stages that were spared, in each run of a sweep the reading of the prompt."""
    if not result.cells:
        yield from result.reused
        return
    for cell in result.cells:
        if "encode" not in cell.seconds:
            yield "encode"
