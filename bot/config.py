"""The settings of one process, from the environment and `.env`, checked before it starts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, cast

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from bot.errors import ConfigurationError
from bot.inference.tools import DEPTH_REPO, FAMILIES, SEGMENTER_REPO, UNSAFE_LABELS, FamilyName
from bot.inference.types import INT8_KERNELS, QUANTIZATIONS, Int8Kernel, Quantization

T = TypeVar("T")

LeaversRule = Literal["keep", "purge"]
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Every variable of the environment that the bot reads, under its name there in lower case."""

    discord_token: str | None = field(default=None, repr=False)
    flux_models: FamilyName = "flux"
    depth_model: str = DEPTH_REPO
    segmenter: str = SEGMENTER_REPO
    hf_token: str | None = field(default=None, repr=False)
    device: tuple[str, ...] = ("auto",)
    gpu_memory_gb: float | None = None
    host_memory_gb: float | None = None
    quantization: Quantization = "8-bit"
    int8_kernel: Int8Kernel = "auto"
    data_dir: Path = Path("data")
    data_limit_gb: float | None = None
    leavers: LeaversRule = "keep"
    dev_guild_id: int | None = None
    allowed_servers: frozenset[int] = frozenset()
    direct_messages: Literal["on", "off"] = "on"
    shard_count: int | None = None
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    ray_min_replicas: int = 1
    ray_max_replicas: int | None = None
    preview: Literal["on", "off"] = "on"
    classifier: str | None = None
    classifier_labels: tuple[str, ...] = UNSAFE_LABELS
    step_timeout_s: float = 300.0
    shutdown_grace_s: float = 20.0
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"

    def __post_init__(self) -> None:
        if self.ray_max_replicas is not None and self.ray_max_replicas < self.ray_min_replicas:
            raise ConfigurationError(
                "RAY_MAX_REPLICAS",
                f"is `{self.ray_max_replicas}`",
                f"a number from RAY_MIN_REPLICAS, which is {self.ray_min_replicas}, or empty for as"
                " many as the cluster has GPUs",
            )

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


def load_settings(
    environment: Mapping[str, str] = os.environ, env_file: Path = Path(".env")
) -> Settings:
    """Read the settings; what the environment says goes before what the file says.

    Raise ConfigurationError, which names the variable, for the first value that is not allowed.
    """
    values = _read_env_file(env_file) | dict(environment)

    def read(name: str, parse: Callable[[str], T], allowed: str, default: T) -> T:
        text = values.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError:
            raise ConfigurationError(name, f"is `{text}`", allowed) from None

    def choice(name: str, allowed: tuple[str, ...], default: str) -> str:
        return read(name, _one_of(allowed), ", ".join(allowed), default)

    size = "a number of gigabytes above 0, or empty for what the machine has"
    seconds = "a number of seconds above 0"
    number = "a whole number above 0"
    return Settings(
        discord_token=read("DISCORD_TOKEN", str, "a token", None),
        flux_models=cast(FamilyName, choice("FLUX_MODELS", tuple(FAMILIES), "flux")),
        depth_model=read(
            "DEPTH_MODEL", _repo_id, f"the id of a repository, as {DEPTH_REPO}", DEPTH_REPO
        ),
        segmenter=read(
            "SEGMENTER", _repo_id, f"the id of a repository, as {SEGMENTER_REPO}", SEGMENTER_REPO
        ),
        hf_token=read("HF_TOKEN", str, "a token", None),
        device=read(
            "DEVICE",
            _devices,
            "auto, cuda, cuda:0 and so on, mps, cpu; or several GPUs, as cuda:0,cuda:1",
            ("auto",),
        ),
        gpu_memory_gb=read("GPU_MEMORY_GB", _positive, size, None),
        host_memory_gb=read("HOST_MEMORY_GB", _positive, size, None),
        quantization=cast(Quantization, choice("QUANTIZATION", QUANTIZATIONS, "8-bit")),
        int8_kernel=cast(Int8Kernel, choice("INT8_KERNEL", INT8_KERNELS, "auto")),
        data_dir=read("DATA_DIR", Path, "a folder", Path("data")),
        data_limit_gb=read(
            "DATA_LIMIT_GB", _positive, "a number of gigabytes above 0, or empty for no limit", None
        ),
        leavers=cast(LeaversRule, choice("LEAVERS", ("keep", "purge"), "keep")),
        allowed_servers=read(
            "ALLOWED_SERVERS", _snowflakes, "ids of servers with commas between them", frozenset()
        ),
        direct_messages=cast(Literal["on", "off"], choice("DIRECT_MESSAGES", ("on", "off"), "on")),
        dev_guild_id=read("DEV_GUILD_ID", _snowflake, "the id of a server, digits alone", None),
        shard_count=read("SHARD_COUNT", _count, number, None),
        executor=cast(Literal["local", "ray"], choice("EXECUTOR", ("local", "ray"), "local")),
        ray_address=read("RAY_ADDRESS", str, "the address of a Ray cluster", None),
        ray_min_replicas=read("RAY_MIN_REPLICAS", _count, number, 1),
        ray_max_replicas=read("RAY_MAX_REPLICAS", _count, number, None),
        preview=cast(Literal["on", "off"], choice("PREVIEW", ("on", "off"), "on")),
        classifier=read(
            "CLASSIFIER",
            _repo_id_or_folder,
            "the id of a repository, as Falconsai/nsfw_image_detection, or a folder that is there",
            None,
        ),
        classifier_labels=read(
            "CLASSIFIER_LABELS", _names, "names with commas between them", UNSAFE_LABELS
        ),
        step_timeout_s=read("STEP_TIMEOUT_S", _positive, seconds, 300.0),
        shutdown_grace_s=read("SHUTDOWN_GRACE_S", _positive, seconds, 20.0),
        metrics_port=read("METRICS_PORT", _port, "a number from 1 to 65535, or empty", None),
        metrics_host=read("METRICS_HOST", str, "the address of this machine", "127.0.0.1"),
        log_level=choice("LOG_LEVEL", LOG_LEVELS, "INFO"),
        log_format=cast(Literal["text", "json"], choice("LOG_FORMAT", ("text", "json"), "text")),
    )


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


def _one_of(allowed: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        for value in allowed:
            if text.lower() == value.lower():
                return value
        raise ValueError(text)

    return parse


def _devices(text: str) -> tuple[str, ...]:
    """Read one device, or several GPUs, each of which gets a worker of its own."""
    names = tuple(name.strip() for name in text.split(","))
    alone, several = r"auto|cpu|mps|cuda(:\d+)?", r"cuda:\d+"
    allowed = alone if len(names) == 1 else several
    if len(set(names)) < len(names) or not all(re.fullmatch(allowed, name) for name in names):
        raise ValueError(text)
    return names


def _repo_id(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise ValueError(text)
    return text


def _repo_id_or_folder(text: str) -> str:
    return text if Path(text).is_dir() else _repo_id(text)


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError(text)
    return names


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text) or int(text) == 0:
        raise ValueError(text)
    return int(text)


def _port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(text)
    return int(text)


def _snowflake(text: str) -> int:
    if not re.fullmatch(r"\d{15,20}", text):
        raise ValueError(text)
    return int(text)


def _snowflakes(text: str) -> frozenset[int]:
    return frozenset(_snowflake(each.strip()) for each in text.split(","))
