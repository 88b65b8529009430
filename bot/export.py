"""Everything about one member as zip files, each small enough for Discord."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OVERHEAD = 1024
"""Bytes that a zip file takes beside the files in it, and for each of them, at most."""

MOST_PARTS = 20
"""Zip files at most: 200 MB where Discord takes 10 MiB."""

RECORDS = "records.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file of an export: its content, or where it is read when its turn comes."""

    name: str
    size: int
    source: bytes | Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What goes into each of the zip files, and how many files are too large or too many."""

    parts: tuple[tuple[Entry, ...], ...]
    left_out: int


async def plan(records: dict[str, Any], files: Iterable[Path], limit: int) -> Export:
    """Share records and files out to zip files of `limit` bytes at most."""
    return await asyncio.to_thread(_plan, records, files, limit)


async def pack(part: Iterable[Entry]) -> bytes:
    """Return a zip file; a file that has gone meanwhile is not in it."""
    return await asyncio.to_thread(_pack, part)


def _plan(records: dict[str, Any], files: Iterable[Path], limit: int) -> Export:
    parts: list[list[Entry]] = []
    room, left_out = 0, 0
    for entry in (_records_entry(records), *_file_entries(files)):
        needed = entry.size + OVERHEAD
        if needed > limit - OVERHEAD:
            left_out += 1
            continue
        if needed > room:
            parts.append([])
            room = limit - OVERHEAD
        parts[-1].append(entry)
        room -= needed
    left_out += sum(len(part) for part in parts[MOST_PARTS:])
    return Export(parts=tuple(map(tuple, parts[:MOST_PARTS])), left_out=left_out)


def _records_entry(records: dict[str, Any]) -> Entry:
    text = json.dumps(records, indent=1, ensure_ascii=False).encode()
    return Entry(name=RECORDS, size=len(zlib.compress(text)), source=text)


def _file_entries(files: Iterable[Path]) -> list[Entry]:
    entries = []
    for file in files:
        with suppress(FileNotFoundError):  # deleted meanwhile
            name, size = f"{file.parent.name}/{file.name}", file.stat().st_size
            entries.append(Entry(name=name, size=size, source=file))
    return entries


def _pack(part: Iterable[Entry]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for entry in part:
            if isinstance(entry.source, bytes):
                archive.writestr(entry.name, entry.source, zipfile.ZIP_DEFLATED)
                continue
            with suppress(FileNotFoundError):
                archive.write(entry.source, entry.name, zipfile.ZIP_STORED)
    return buffer.getvalue()
