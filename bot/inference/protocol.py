"""The messages between the bot and a worker process, and how they travel over its pipes.

A message is a pickled dataclass behind its length. Both ends are this program, and the pipes are
private to them: nothing that comes from elsewhere is ever unpickled.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from bot.errors import BotError
from bot.inference.tools import DEPTH_REPO, SEGMENTER_REPO, UNSAFE_LABELS, FamilyName
from bot.inference.types import DeviceMemory, Int8Kernel, Progress, Request, Result

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerOptions:
    """What a worker needs to know of the settings; memory in gigabytes, None for what there is.

    Host memory is that of `host_share` workers together. In `store_folder` quantised weights are
    kept for the next start, in `kernel_folder` what is compiled for the GPU. `classifier` finds the
    pictures that bear one of its labels.
    """

    family: FamilyName
    device: str = "auto"
    gpu_memory_gb: float | None = None
    host_memory_gb: float | None = None
    host_share: int = 1
    depth_model: str = DEPTH_REPO
    segmenter: str = SEGMENTER_REPO
    store_folder: Path | None = None
    kernel_folder: Path | None = None
    int8_kernel: Int8Kernel = "auto"
    previews: bool = True
    classifier: str | None = None
    classifier_labels: tuple[str, ...] = UNSAFE_LABELS
    hf_token: str | None = field(default=None, repr=False)
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True)
class Run:
    """Bot to worker: make this; `number` names the run in all messages about it.

    What is logged meanwhile bears the id of the `job` that it is for.
    """

    number: int
    request: Request
    job: int | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Bot to worker: stop this run at the next step."""

    number: int


@dataclass(frozen=True, slots=True)
class Look:
    """Bot to worker: say what is in memory; it is answered at once, also in the middle of a run."""

    number: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to bot: the device is there, requests may come."""

    device: str


@dataclass(frozen=True, slots=True)
class Happened:
    """Worker to bot: progress of a run, or its result, which ends it."""

    number: int
    event: Progress | Result


@dataclass(frozen=True, slots=True)
class Stopped:
    """Worker to bot: a run was cancelled, which ends it."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to bot: a run ended in an error; `traceback` is for the log.

    After a `fatal` one the device can compute no more, and the worker ends.
    """

    number: int
    error: Exception
    traceback: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """Worker to bot: what is in memory."""

    number: int
    memory: DeviceMemory


@dataclass(frozen=True, slots=True)
class Unable:
    """Worker to bot: there will be no run, as with a device that is not there."""

    error: BotError


class WorkerError(Exception):
    """A defect in the worker, with the traceback from there."""


def pack(message: object) -> bytes:
    """Return the bytes of a message."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> Any:
    """Return the next message; raise asyncio.IncompleteReadError at the end of the pipe."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))


def read(stream: BinaryIO) -> Any:
    """Return the next message of a blocking pipe; raise EOFError at its end."""
    (length,) = _LENGTH.unpack(_read_exactly(stream, _LENGTH.size))
    return pickle.loads(_read_exactly(stream, length))


def _read_exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data
