"""`/metrics`, `/healthz` and `/readyz`, served by the bot's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from bot.application import Application
from bot.errors import ConfigurationError
from bot.metrics.health import Health
from bot.metrics.registry import Metrics


@asynccontextmanager
async def endpoints(app: Application, stop: asyncio.Event) -> AsyncIterator[None]:
    """Serve them at METRICS_HOST and METRICS_PORT; without a port there are none.

    When `stop` is set the bot is not ready any more. Raises ConfigurationError where nothing can
    listen there.
    """
    settings = app.client.settings
    if settings.metrics_port is None:
        yield
        return
    health = Health(client=app.client, shards=app.metrics.shards, stop=stop)
    runner = web.AppRunner(_routes(app.metrics, health), access_log=None)
    await runner.setup()
    lag = asyncio.create_task(app.metrics.measure_lag(), name="lag of the event loop")
    try:
        await _listen(runner, settings.metrics_host, settings.metrics_port)
        yield
    finally:
        lag.cancel()
        await runner.cleanup()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        reason = str(error.strerror).rpartition(": ")[2]  # asyncio puts the address before it
        raise ConfigurationError(
            "METRICS_PORT",
            f"is `{port}`, where nothing can listen at {host} ({reason})",
            "a port that is free at METRICS_HOST, or empty",
        ) from error


def _routes(metrics: Metrics, health: Health) -> web.Application:
    async def show_metrics(request: web.Request) -> web.Response:
        await metrics.refresh()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # aiohttp takes no charset in a content type, but as a header
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    async def show_health(_: web.Request) -> web.Response:
        return _verdict(health.fault())

    async def show_readiness(_: web.Request) -> web.Response:
        return _verdict(health.obstacle())

    application = web.Application()
    application.router.add_get("/metrics", show_metrics)
    application.router.add_get("/healthz", show_health)
    application.router.add_get("/readyz", show_readiness)
    return application


def _verdict(reason: str | None) -> web.Response:
    return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)
