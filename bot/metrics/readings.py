"""What other parts of the bot know anyway, read whenever Prometheus asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bot.errors import BotError
from bot.inference.executor import Executor
from bot.inference.tools import TOOLS
from bot.inference.types import DeviceMemory
from bot.jobs import Jobs
from bot.metrics.shards import Shards

PATIENCE = 1.0
"""Seconds that the workers have to say what is on their devices; else it is what they said last."""


@dataclass(kw_only=True, eq=False)
class Readings(Collector):
    """Reads queue, ladder, gateway and workers; `refresh` comes before each reading."""

    jobs: Jobs
    arrivals: Mapping[str, int]
    shards: Shards
    executor: Executor
    _devices: Sequence[DeviceMemory] = field(default=(), init=False)

    async def refresh(self) -> None:
        """Ask the workers what is on their devices, unless one would have to be started first."""
        executor = self.executor
        if executor.ready_workers < max(1, executor.capacity):
            return
        with contextlib.suppress(BotError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                self._devices = await executor.memory()

    def collect(self) -> Iterator[Metric]:
        """Yield all that is read."""
        yield self._queue()
        yield self._deliveries()
        yield from self._gateway()
        yield from self._workers()
        yield from self._memory()

    def _queue(self) -> Metric:
        family = GaugeMetricFamily(
            "fluxbot_queue_jobs", "Jobs that wait or run now.", labels=["tool", "state"]
        )
        running = [run.job for run in self.jobs.running]
        waiting = self.jobs.unfinished()[len(running) :]
        for state, jobs in (("waiting", waiting), ("running", running)):
            tools = Counter(job.request.tool for job in jobs)
            for tool in TOOLS:
                family.add_metric([tool, state], tools[tool])
        return family

    def _deliveries(self) -> Metric:
        family = CounterMetricFamily(
            "fluxbot_deliveries",
            "What had to arrive, by the rung of the ladder that brought it.",
            labels=["rung"],
        )
        for rung, count in self.arrivals.items():
            family.add_metric([rung], count)
        return family

    def _gateway(self) -> Iterator[Metric]:
        connected = GaugeMetricFamily(
            "fluxbot_gateway_connected", "Whether a shard is connected.", labels=["shard"]
        )
        for shard, is_connected in self.shards.connected.items():
            connected.add_metric([str(shard)], is_connected)
        yield connected
        latency = GaugeMetricFamily(
            "fluxbot_gateway_latency_seconds",
            "From a heartbeat to its answer.",
            labels=["shard"],
        )
        for shard, seconds in self.shards.latencies():
            latency.add_metric([str(shard)], seconds)
        yield latency

    def _workers(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "fluxbot_capacity", "Jobs that can run at a time.", self.executor.capacity
        )
        yield GaugeMetricFamily(
            "fluxbot_workers_ready", "Workers that have their device.", self.executor.ready_workers
        )
        if (restarts := self.executor.restarts) is not None:
            yield CounterMetricFamily(
                "fluxbot_worker_restarts",
                "Workers that were started after another one that had ended.",
                restarts,
            )

    def _memory(self) -> Iterator[Metric]:
        names = ["number", "device"]
        resident = GaugeMetricFamily(
            "fluxbot_device_memory_resident_bytes",
            "Weights that are kept on a device.",
            labels=names,
        )
        free = GaugeMetricFamily(
            "fluxbot_device_memory_free_bytes", "Memory of a device that is free.", labels=names
        )
        total = GaugeMetricFamily(
            "fluxbot_device_memory_total_bytes", "Memory of a device.", labels=names
        )
        for number, memory in enumerate(self._devices):
            labels = [str(number), memory.device]
            on_device = (each for each in memory.holdings if each.on_device)
            resident.add_metric(labels, sum(each.weights.actual for each in on_device))
            free.add_metric(labels, memory.free)
            total.add_metric(labels, memory.total)
        yield from (resident, free, total)
