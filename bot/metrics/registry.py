"""All metrics of one running bot, in a registry of their own."""

from __future__ import annotations

import asyncio
import time

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector

from bot import __version__
from bot.client import FluxBot
from bot.delivery import Delivery
from bot.jobs import Jobs
from bot.metrics.readings import Readings
from bot.metrics.shards import Shards
from bot.metrics.traffic import Traffic
from bot.metrics.work import WorkMetrics

NAP = 0.5
"""Seconds that are slept between two looks at how late one wakes up."""
LATE = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Seconds: Discord gives three to acknowledge a command."""


class Metrics:
    """What is counted, timed and read; nothing of it tells of a person, a place or a prompt."""

    def __init__(self, family: str) -> None:
        # when each series began is of no use here, and would double their number
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.work = WorkMetrics(self.registry)
        self.traffic = Traffic(self.registry)
        self.shards: Shards
        self._readings: Readings
        self._lag = Histogram(
            "fluxbot_event_loop_lag_seconds",
            "How late the bot's event loop comes to what is due.",
            buckets=LATE,
            registry=self.registry,
        )
        info = Gauge(
            "fluxbot_info",
            "The version, and the family of models that is served.",
            ["version", "family"],
            registry=self.registry,
        )
        info.labels(__version__, family).set(1)
        ProcessCollector(registry=self.registry)

    def watch(self, client: FluxBot, jobs: Jobs, delivery: Delivery) -> None:
        """Begin to follow the parts of a bot that is not logged in yet."""
        self.work.forecast = jobs.forecast
        client.http.http_trace = self.traffic.trace
        self.shards = Shards(self.registry, client)
        self._readings = Readings(
            jobs=jobs, arrivals=delivery.arrivals, shards=self.shards, executor=client.executor
        )
        self.registry.register(self._readings)

    async def refresh(self) -> None:
        """Bring up to date what the workers have to be asked for."""
        await self._readings.refresh()

    async def measure_lag(self) -> None:
        """See how late the event loop is, until cancelled."""
        while True:
            start = time.perf_counter()
            await asyncio.sleep(NAP)
            self._lag.observe(max(0.0, time.perf_counter() - start - NAP))
