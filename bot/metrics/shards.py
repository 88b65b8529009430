"""The connections to Discord's gateway: which of them are there, and how often they came again."""

from __future__ import annotations

import math
from collections.abc import Iterator

from discord.ext import commands
from prometheus_client import CollectorRegistry, Counter


class Shards:
    """Follows the connections of a client by its events."""

    def __init__(self, registry: CollectorRegistry, client: commands.AutoShardedBot) -> None:
        self._client = client
        self._connected: dict[int, bool] = {}
        self._reconnects = Counter(
            "fluxbot_gateway_reconnects",
            "Connections to the gateway that were made again: resumed, or begun anew.",
            ["shard", "how"],
            registry=registry,
        )
        client.add_listener(self._begin, "on_shard_connect")
        client.add_listener(self._resume, "on_shard_resumed")
        client.add_listener(self._break, "on_shard_disconnect")

    @property
    def connected(self) -> dict[int, bool]:
        """Whether each shard that was ever connected is so now."""
        return dict(sorted(self._connected.items()))

    def latencies(self) -> Iterator[tuple[int, float]]:
        """Yield the seconds between heartbeat and answer of the shards that have had one."""
        for shard, seconds in self._client.latencies:
            if math.isfinite(seconds):
                yield shard, seconds

    async def _begin(self, shard: int) -> None:
        if shard in self._connected:
            self._reconnects.labels(shard, "anew").inc()
        self._note(shard)

    async def _resume(self, shard: int) -> None:
        self._reconnects.labels(shard, "resumed").inc()
        self._note(shard)

    async def _break(self, shard: int) -> None:
        self._connected[shard] = False

    def _note(self, shard: int) -> None:
        self._connected[shard] = True
        for how in ("anew", "resumed"):
            self._reconnects.labels(shard, how)
