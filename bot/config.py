"""The settings of one process, from the environment and `.env`, checked before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from bot.errors import ConfigurationError
from bot.inference.tools import DEPTH_REPO, FAMILIES, SEGMENTER_REPO, UNSAFE_LABELS, FamilyName
from bot.inference.types import INT8_KERNELS, QUANTIZATIONS, Int8Kernel, Quantization
from bot.variables import (
    Variable,
    choice,
    count,
    devices,
    names,
    port,
    positive,
    ray_address,
    repo_id,
    repo_id_or_folder,
    snowflake,
    snowflakes,
    variable,
)

LeaversRule = Literal["keep", "purge"]
Switch = Literal["on", "off"]
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

GIGABYTES = "a number of gigabytes above 0"
SECONDS = "a number of seconds above 0"
WHOLE = "a whole number above 0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Every variable of the environment that the bot reads, under its name there in lower case."""

    discord_token: str | None = variable(
        None,
        str,
        "a token",
        "The token of your application, from its page Bot in Discord's developer portal",
        secret=True,
    )
    flux_models: FamilyName = choice(
        "flux",
        tuple(FAMILIES),
        "Which weights: flux are the real ones from the Hugging Face hub, tiny those built in,"
        " which need no download",
    )
    depth_model: str = variable(
        DEPTH_REPO,
        repo_id,
        f"the id of a repository, as {DEPTH_REPO}",
        "What tells near from far for /depth: a repository with a Depth Anything model (flux only)",
    )
    segmenter: str = variable(
        SEGMENTER_REPO,
        repo_id,
        f"the id of a repository, as {SEGMENTER_REPO}",
        "What finds in a picture what the words in /fill's area name: a repository with a CLIPSeg"
        " model (flux only); it runs on the CPU, and takes 1.1 GB of memory until it was not used"
        " for five minutes",
    )
    hf_token: str | None = variable(
        None,
        str,
        "a token",
        "A Hugging Face token that has accepted the licences of the gated dev models",
        secret=True,
    )
    device: tuple[str, ...] = variable(
        ("auto",),
        devices,
        "auto, cuda, cuda:0 and so on, mps, cpu; or several GPUs, as cuda:0,cuda:1",
        "What the models run on; several GPUs of this machine each make pictures of their own",
    )
    gpu_memory_gb: float | None = variable(
        None,
        positive,
        f"{GIGABYTES}, or empty for what the GPU has, less room for the pictures",
        "Weights to keep on each GPU",
    )
    host_memory_gb: float | None = variable(
        None,
        positive,
        f"{GIGABYTES}, or empty for three quarters of what the machine or its container has",
        "Weights to keep in host memory while others are on the GPU",
    )
    quantization: Quantization = choice(
        "8-bit", QUANTIZATIONS, "How weights are kept where a command does not say"
    )
    int8_kernel: Int8Kernel = choice(
        "auto",
        INT8_KERNELS,
        "How models at 8 bits compute: with auto in 8 bits on NVIDIA GPUs from 2020 on, with quanto"
        " in 16 bits, as optimum-quanto does, at half the speed; fused is as auto, with a warning"
        " where that cannot be",
    )
    data_dir: Path = variable(
        Path("data"),
        Path,
        "a folder",
        "Where the database, the pictures, the weights at 8 bits (12 GB for each model) and what is"
        " compiled for the GPU are kept",
    )
    data_limit_gb: float | None = variable(
        None,
        positive,
        f"{GIGABYTES}, or empty for no limit",
        "Pictures and attached images to keep in DATA_DIR, of which the oldest go",
    )
    leavers: LeaversRule = choice(
        "keep",
        ("keep", "purge"),
        "Whether the data of members who left a server is deleted 30 days later",
    )
    dev_guild_id: int | None = variable(
        None,
        snowflake,
        "the id of a server, digits alone, or empty for all servers",
        "The one server to give commands to, which takes effect at once; for all it takes Discord a"
        " while",
    )
    allowed_servers: frozenset[int] = variable(
        frozenset(),
        snowflakes,
        "ids of servers with commas between them, or empty for all that it was invited to",
        "The servers that the bot serves",
    )
    direct_messages: Switch = choice(
        "on", ("on", "off"), "Whether members may also ask for pictures in direct messages"
    )
    shard_count: int | None = variable(
        None,
        count,
        f"{WHOLE}, or empty for as many as Discord recommends",
        "Connections to Discord (shards) that share its servers; below 1,000 servers it recommends"
        " one",
    )
    executor: Literal["local", "ray"] = choice(
        "local",
        ("local", "ray"),
        "What makes the pictures: local is a worker process on this machine for each DEVICE, ray"
        " are replicas on a Ray cluster, with a GPU each",
    )
    ray_address: str | None = variable(
        None,
        ray_address,
        "auto or host:port of a cluster that this machine is a node of, as head:6379, or empty for"
        " a Ray that is started on this machine",
        "The Ray cluster; ray:// is not for this, since Ray's client passes no streams on",
    )
    ray_min_replicas: int = variable(
        1, count, WHOLE, "Replicas on the Ray cluster while few pictures wait"
    )
    ray_max_replicas: int | None = variable(
        None,
        count,
        f"{WHOLE}, or empty for one for each GPU",
        "Replicas on the Ray cluster while many pictures wait",
    )
    preview: Switch = choice(
        "on", ("on", "off"), "Whether small pictures show what is being painted, while it is"
    )
    classifier: str | None = variable(
        None,
        repo_id_or_folder,
        "the id of a repository, as Falconsai/nsfw_image_detection, or a folder that is there, or"
        " empty for none",
        "What looks at pictures before they are shown, on servers that ask for it, which get none"
        " without it: a model for image classification",
    )
    classifier_labels: tuple[str, ...] = variable(
        UNSAFE_LABELS,
        names,
        "names with commas between them",
        "What the classifier calls pictures that are not for everyone",
    )
    step_timeout_s: float = variable(
        300.0,
        positive,
        SECONDS,
        "Without a word of a picture that is being painted for so long, the worker is ended and"
        " started again; downloads do not count",
    )
    shutdown_grace_s: float = variable(
        20.0,
        positive,
        SECONDS,
        "How long a picture may go on when the bot is stopped; what is not done goes on at the next"
        " start",
    )
    metrics_port: int | None = variable(
        None,
        port,
        "a number from 1 to 65535, or empty for none",
        "The port of /metrics for Prometheus, /healthz and /readyz",
    )
    metrics_host: str = variable(
        "127.0.0.1",
        str,
        "the address of this machine",
        "The address that METRICS_PORT is at; 0.0.0.0 lets other machines in, who need not say who"
        " they are",
    )
    log_level: str = choice("INFO", LOG_LEVELS, "The least that is logged")
    log_format: Literal["text", "json"] = choice(
        "text", ("text", "json"), "Lines for people, or JSON for machines"
    )

    def __post_init__(self) -> None:
        if self.ray_max_replicas is not None and self.ray_max_replicas < self.ray_min_replicas:
            raise ConfigurationError(
                "RAY_MAX_REPLICAS",
                f"is `{self.ray_max_replicas}`",
                f"a number from RAY_MIN_REPLICAS, which is {self.ray_min_replicas}, or empty for as"
                " many as the cluster has GPUs",
            )

    @property
    def secrets(self) -> list[str]:
        """What must not be shown, of that which is set."""
        return [value for name in SECRETS if (value := getattr(self, name))]

    def require_token(self) -> str:
        """Return DISCORD_TOKEN; raise ConfigurationError without one."""
        if self.discord_token is None:
            raise ConfigurationError(
                "DISCORD_TOKEN",
                "is not set",
                "the token of your application, from its page Bot in Discord's developer portal;"
                " `python -m bot playground` needs none",
            )
        return self.discord_token


SECRETS = tuple(each.name for each in fields(Settings) if not each.repr)


def variables() -> Iterator[tuple[str, Any, Variable]]:
    """Yield each variable, with its default and what is told of it."""
    for each in fields(Settings):
        yield each.name.upper(), each.default, each.metadata["variable"]


def load_settings(
    environment: Mapping[str, str] = os.environ, env_file: Path = Path(".env")
) -> Settings:
    """Read the settings; what the environment says goes before what the file says.

    Raise ConfigurationError, which names the variable, for the first value that is not allowed.
    """
    values = _read_env_file(env_file) | dict(environment)
    given: dict[str, Any] = {}
    for name, _default, told in variables():
        text = values.get(name, "").strip()
        if not text:
            continue
        try:
            given[name.lower()] = told.parse(text)
        except ValueError:
            raise ConfigurationError(name, f"is `{text}`", told.allowed) from None
    return Settings(**given)


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    name = str(path)
    try:
        with path.open(encoding="utf-8") as stream:
            broken = next((b for b in parse_stream(stream) if b.error), None)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(name, f"cannot be read ({error})", "a UTF-8 text file") from error
    if broken is not None:
        raise ConfigurationError(
            name, f"has a fault in line {broken.original.line}", "lines of the form NAME=value"
        )
    return {key: value for key, value in dotenv_values(path).items() if value is not None}
