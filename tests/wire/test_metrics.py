"""One run of the bot with secrets in `.env` and with mishaps: what it measures, says and keeps."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import socket
import zipfile
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from .bot_process import BotProcess
from .fake_discord import FakeDiscord
from .messages import CHANNEL_ID, GUILD_ID, Message, user
from .rest import TOKEN
from .test_run import PICTURE, WEBHOOK, has_picture, shows_work

pytestmark = pytest.mark.asyncio(loop_scope="module")

HF_TOKEN = "hf_" + "sEcReT" * 6
PROMPT = "a mauve zeppelin for grandmother"
MEMBER = "400000000000000077"

LABELS = {
    "cause",
    "device",
    "family",
    "how",
    "le",
    "number",
    "outcome",
    "rung",
    "shard",
    "stage",
    "state",
    "tool",
    "version",
}


@dataclass
class Run:
    """The bot that runs, its pages, and all that they have ever shown."""

    bot: BotProcess
    discord: FakeDiscord
    folder: Path
    url: str
    shown: list[str] = field(default_factory=list)

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
            text = await response.text()
        self.shown.append(text)
        return response.status, text

    async def ready(self, wanted: int = 200) -> str:
        """Wait until the bot says that it is ready, or that it is not, and return why not."""
        async with asyncio.timeout(60):
            while (answer := await self.get("/readyz"))[0] != wanted:
                await asyncio.sleep(0.05)
        return answer[1]

    async def value(self, name: str, **labels: str) -> float:
        """Return the sum of what a metric says with such labels, 0 where it says nothing."""
        _, text = await self.get("/metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels.items() >= labels.items()
        )

    async def comes_to(self, expected: float, name: str, **labels: str) -> None:
        async with asyncio.timeout(20):
            while await self.value(name, **labels) != expected:
                await asyncio.sleep(0.05)

    async def picture(self, prompt: str = PROMPT, **options: Any) -> Message:
        message = await self.discord.slash("generate", user_id=MEMBER, prompt=prompt, **options)
        await message.until(has_picture)
        return message

    def records(self) -> list[dict[str, Any]]:
        """Return what was logged."""
        return [json.loads(line) for line in self.bot.log.splitlines()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(world: FakeDiscord, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Run]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("bot")
    settings = {"DISCORD_TOKEN": TOKEN, "HF_TOKEN": HF_TOKEN, "METRICS_PORT": port}
    (folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
    bot = await BotProcess.start(world.url, folder, {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"})
    await world.gateway.online()
    run = Run(bot, world, folder, f"http://127.0.0.1:{port}")
    await run.ready()
    yield run
    await bot.end()


async def test_a_job_is_counted_timed_and_seen_on_the_device(run: Run) -> None:
    await run.picture(seed=1)
    await run.comes_to(1, "fluxbot_jobs_total", tool="schnell", state="delivered")
    for stage in ("load", "encode", "denoise", "decode"):
        assert await run.value("fluxbot_stage_seconds_count", tool="schnell", stage=stage) == 1
    assert await run.value("fluxbot_wait_seconds_count", tool="schnell") == 1
    assert await run.value("fluxbot_deliveries_total", rung="edit_through_interaction") >= 1
    resident = await run.value("fluxbot_device_memory_resident_bytes", number="0")
    assert 0 < resident < await run.value("fluxbot_device_memory_peak_bytes", device="CPU")
    assert await run.value("fluxbot_capacity") == 1
    assert await run.value("fluxbot_event_loop_lag_seconds_count") > 0


async def test_the_same_words_again_are_spared_and_forecast(run: Run) -> None:
    await run.picture(seed=2)
    await run.comes_to(2, "fluxbot_jobs_total", tool="schnell", state="delivered")
    assert await run.value("fluxbot_cache_hits_total", stage="encode") == 1
    assert await run.value("fluxbot_forecast_error_ratio_count", tool="schnell") == 1


async def test_requests_that_discord_refuses_are_counted_and_so_are_their_retries(
    run: Run,
) -> None:
    run.discord.fail("PATCH", WEBHOOK, status=502, file=PICTURE)
    run.discord.fail("PATCH", WEBHOOK, status=429, retry_after=0.1, file=PICTURE)
    await run.picture(seed=3)
    for kind in ("5xx", "429"):
        assert await run.value("fluxbot_discord_requests_total", outcome=kind) == 1
        assert await run.value("fluxbot_discord_retries_total", cause=kind) == 1


async def test_a_connection_that_is_resumed_is_counted_and_has_a_latency(run: Run) -> None:
    assert await run.value("fluxbot_gateway_connected", shard="0") == 1
    assert await run.value("fluxbot_gateway_reconnects_total") == 0
    await run.discord.gateway.drop()
    await run.discord.gateway.online()
    await run.comes_to(1, "fluxbot_gateway_reconnects_total", shard="0", how="resumed")
    await run.comes_to(1, "fluxbot_gateway_connected", shard="0")
    _, text = await run.get("/metrics")
    assert 'fluxbot_gateway_latency_seconds{shard="0"}' in text


async def test_a_worker_that_is_killed_makes_the_bot_unready_until_it_is_back(run: Run) -> None:
    message = await run.discord.slash(
        "generate", user_id=MEMBER, prompt=PROMPT, model="dev", steps=50
    )
    await message.until(shows_work)
    (worker,) = run.bot.workers()
    worker.kill()
    assert await run.ready(503) == "No inference process is ready.\n"
    assert (await run.get("/healthz")) == (200, "ok\n")
    await run.ready()
    await message.until(has_picture)
    assert await run.value("fluxbot_worker_restarts_total") == 1
    assert await run.value("fluxbot_workers_ready") == 1


async def test_a_defect_is_a_reference_for_the_member_and_a_traceback_without_secrets(
    run: Run,
) -> None:
    run.discord.fail("POST", r"/interactions/.*", status=400, code=1, text=f"{TOKEN} {HF_TOKEN}")
    message = await run.discord.slash("generate", user_id=MEMBER, prompt=PROMPT)
    (reference,) = re.findall(r"`(\w{8})`", message.now.text)
    (record,) = [each for each in run.records() if f"reference {reference}" in each["message"]]
    assert (
        "HTTPException: 400 Bad Request (error code: 1): <secret> <secret>" in (record["traceback"])
    )


async def test_each_line_on_the_way_of_a_job_bears_its_id(run: Run) -> None:
    records = run.records()
    loaded = [each for each in records if each["logger"] == "bot.inference.parts"]
    assert loaded
    assert all("job" in each for each in loaded)
    named = [(re.search(r"\bjob (\d+)", each["message"]), each) for each in records]
    told = [(int(found[1]), each["job"]) for found, each in named if found]
    assert told
    assert all(said == borne for said, borne in told)


async def test_no_label_tells_who_asked_where_or_for_what(run: Run) -> None:
    _, text = await run.get("/metrics")
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    assert {name for sample in samples for name in sample.labels} <= LABELS
    told = (PROMPT, "zeppelin", MEMBER, GUILD_ID, CHANNEL_ID, user(MEMBER)["username"])
    assert not [each for each in told if each in text]
    values = {value for sample in samples for value in sample.labels.values()}
    assert not [value for value in values if re.fullmatch(r"\d{15,}", value)]


async def test_no_secret_of_env_is_anywhere_in_the_end(run: Run) -> None:
    privacy = await run.discord.slash("privacy", user_id=MEMBER)
    await privacy.until(lambda version: "privacy:export" in version.custom_ids)
    await run.discord.click(privacy, "privacy:export", user_id=MEMBER)
    exports = await exported(run.discord)
    run.bot.process.send_signal(signal.SIGTERM)
    assert await run.bot.exit_code(30) == 0
    kept = {
        "log": run.bot.log,
        "pages": "\n".join(run.shown),
        "export": exports,
        "requests": "\n".join(json.dumps(call.body) for call in run.discord.rest.calls),
        "files of requests": "\n".join(
            content.decode("latin-1")
            for call in run.discord.rest.calls
            for content in call.files.values()
        ),
        "data folder": "\n".join(
            path.read_bytes().decode("latin-1")
            for path in (run.folder / "data").rglob("*")
            if path.is_file()
        ),
    }
    for place, text in kept.items():
        assert text, place
        for secret in (TOKEN, HF_TOKEN):
            assert secret not in text, place
    # what the interactions' answers go through is no secret of .env, but nothing for the log
    assert "token-of-" not in kept["log"]
    assert PROMPT in exports
    above_debug = [each for each in run.records() if each["level"] != "DEBUG"]
    assert above_debug
    assert not [each for each in above_debug if PROMPT in json.dumps(each)]


async def exported(discord: FakeDiscord) -> str:
    """Wait for an export, and return all that its zip files hold."""
    async with asyncio.timeout(20):
        while True:
            files = [
                content
                for call in discord.rest.calls
                for name, content in call.files.items()
                if name.endswith(".zip")
            ]
            if files:
                break
            await asyncio.sleep(0.05)
    texts = []
    for content in files:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            texts += [archive.read(name).decode("latin-1") for name in archive.namelist()]
    return "\n".join(texts)
