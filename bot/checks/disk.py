"""Whether the disks have room for the weights, and for what the members make."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import constants

from bot.application import WEIGHTS
from bot.checks.finding import Finding, fault, ok, warning
from bot.config import Settings
from bot.inference.sizes import GB, SIZES
from bot.inference.tools import FAMILIES, SHARED_REPO
from bot.units import format_bytes

LEAST = GB
"""Bytes without which the bot soon cannot keep pictures."""


class Need(NamedTuple):
    """What is still to be downloaded to the hub's cache, and to be stored at 8 bits, in bytes."""

    downloaded: int
    stored: int


def check_disk(
    settings: Settings,
    cache: Path | None = None,
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> Finding:
    """Compare what is free to what the weights still take; originals go as they are stored."""
    cache = cache or Path(constants.HF_HUB_CACHE)
    data, cache = _there(settings.data_dir), _there(cache)
    need = _need(settings)
    free = free_bytes(data)
    found = f"{format_bytes(free)} free for DATA_DIR"
    if free < LEAST:
        return fault("disk", found, "make room, or set DATA_DIR to another disk")
    if not sum(need):
        return ok("disk", found)
    one_disk = data.stat().st_dev == cache.stat().st_dev
    there = f", {format_bytes(free_bytes(cache))} for the hub's cache" if not one_disk else ""
    wanted = (
        f"; the weights still take {format_bytes(need.stored)}, and {format_bytes(need.downloaded)}"
        " on their way"
    )
    short = (
        free < need.stored + need.downloaded + LEAST
        if one_disk
        else free < need.stored + LEAST or free_bytes(cache) < need.downloaded + LEAST
    )
    if short:
        return warning(
            "disk",
            found + there + wanted,
            "make room, or take some of the models: python -m bot prepare schnell",
        )
    return ok("disk", found + there + wanted)


def _need(settings: Settings) -> Need:
    """Return what is to come; transformers that are stored at 8 bits are there."""
    family = FAMILIES[settings.flux_models]
    if family.folder is not None:
        return Need(0, 0)
    store, sizes = settings.data_dir / WEIGHTS, SIZES["8-bit"]
    repo_ids = {tool.transformer_repo_id for tool in family.tools().values()}
    missing = [each for each in repo_ids if not _is_stored(store, each, "transformer")]
    text_encoder = not _is_stored(store, SHARED_REPO, "text_encoder_2")
    stored = len(missing) * sizes.transformer + text_encoder * sizes.text_encoder
    if missing:
        return Need(SIZES["None"].transformer, stored)
    return Need(text_encoder * SIZES["None"].text_encoder, stored)


def _is_stored(store: Path, repo_id: str, part: str) -> bool:
    return any(store.glob(f"{repo_id.replace('/', '--')}--{part}--qint8-*/manifest.json"))


def _there(path: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())
