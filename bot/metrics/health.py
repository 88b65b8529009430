"""Whether a bot is well, and whether it could make a picture now, each in one sentence if not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bot.client import FluxBot
from bot.metrics.shards import Shards


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """Looks at the client, its shards and its workers; `stop` is set when the bot is to end."""

    client: FluxBot
    shards: Shards
    stop: asyncio.Event

    def fault(self) -> str | None:
        """Return what only a restart mends, if there is anything.

        A connection that is lost is made again, and a worker that ends is started again, so neither
        is. An event loop that hangs does not answer at all.
        """
        if self.client.is_closed():
            return "The connection to Discord is closed for good."
        return None

    def obstacle(self) -> str | None:
        """Return why no picture can be asked for now, if there is a reason."""
        if self.stop.is_set():
            return "The bot is being stopped."
        if fault := self.fault():
            return fault
        if self.client.user is None:
            return "The bot has not logged in to Discord yet."
        if not self.client.is_ready():
            return "Discord has not told yet which servers there are."
        lost = [str(shard) for shard, connected in self.shards.connected.items() if not connected]
        if lost:
            return f"Not connected to Discord's gateway: shard {', '.join(lost)}."
        if not self.client.executor.ready_workers:
            return "No inference process is ready."
        return None
