"""What preparing tools takes: what is there, what is to come, and whether the disks have room."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from bot.errors import NotEnoughSpace
from bot.inference.hub_files import HubFile
from bot.inference.parts import Key
from bot.inference.repositories import WEIGHTS
from bot.units import format_bytes

MARGIN = 10**9
"""Bytes that stay free on the disk."""

STORED_SHARE = 0.52
"""What 8 bits take of a part in bfloat16: half, with scales, and with layers that stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Files of a folder that tools need; of a part with weights its `key`, too.

    `stored` are the bytes that the part takes at 8 bits, or None. Files that are `damaged` are as
    good as missing.
    """

    repo_id: str
    files: tuple[HubFile, ...]
    key: Key | None = None
    stored: int | None = None
    damaged: Collection[HubFile] = ()

    @property
    def is_quantized(self) -> bool:
        """Whether it is kept at 8 bits, and its original not."""
        return self.key is not None and self.key.is_quantized

    @property
    def missing(self) -> list[HubFile]:
        """The files to be downloaded, in their order; of what is stored, not the weights."""
        return [
            file
            for file in self.files
            if (file in self.damaged or not file.is_there)
            and (self.stored is None or not file.name.endswith(WEIGHTS))
        ]

    @property
    def to_come(self) -> int:
        """The bytes that are still to be downloaded."""
        return sum(self._missing_of(file) for file in self.missing)

    @property
    def there(self) -> int:
        """The bytes that are here, of its files and at 8 bits."""
        return sum(file.size - self._missing_of(file) for file in self.files) + (self.stored or 0)

    @property
    def original(self) -> int:
        """The bytes of its weights as the hub has them."""
        return sum(file.size for file in self.files if file.name.endswith(WEIGHTS))

    @property
    def to_store(self) -> int:
        """The bytes that are still to be stored at 8 bits, about."""
        return 0 if self.stored or not self.is_quantized else int(STORED_SHARE * self.original)

    def kept(self, *, keep_originals: bool) -> int:
        """Return the bytes that it takes in the end."""
        files = sum(file.size for file in self.files)
        if not self.is_quantized:
            return files
        at_8_bits = self.stored or self.to_store
        if not keep_originals:
            return files - self.original + at_8_bits
        return at_8_bits + (self.there - self.stored if self.stored else files)

    def _missing_of(self, file: HubFile) -> int:
        return file.size if file in self.damaged else file.size - file.arrived


@dataclass(frozen=True, slots=True)
class Room:
    """What a disk has, and what is needed there at once, in bytes; `folder` lies on it."""

    folder: Path
    needed: int
    free: int

    @property
    def missing(self) -> int:
        """The bytes that are missing, with those that stay free; 0 where there is room."""
        return max(0, self.needed + MARGIN - self.free) if self.needed else 0


def rooms(needs: Sequence[Need], store_folder: Path, *, keep_originals: bool) -> list[Room]:
    """Return what the disks of the hub's cache and of the store need, one after the other done.

    An original that is stored makes room before the next one is downloaded.
    """
    cache, store = _disk(Path(constants.HF_HUB_CACHE)), _disk(store_folder)
    taken: Counter[int] = Counter()
    peaks: Counter[int] = Counter()
    for need in needs:
        for disk, count in ((cache, need.to_come), (store, need.to_store)):
            taken[disk.device] += count
            peaks[disk.device] = max(peaks[disk.device], taken[disk.device])
        if need.to_store and not keep_originals:
            taken[cache.device] -= need.original
    disks = {disk.device: disk.folder for disk in (store, cache)}
    return [
        Room(folder, peaks[device], shutil.disk_usage(folder).free)
        for device, folder in disks.items()
    ]


def check_rooms(found: Sequence[Room]) -> None:
    """Raise NotEnoughSpace if a disk has too little room."""
    for room in found:
        if room.missing:
            raise NotEnoughSpace(
                room.folder,
                format_bytes(room.missing),
                format_bytes(room.needed + MARGIN),
                format_bytes(room.free),
            )


@dataclass(frozen=True, slots=True)
class _Disk:
    device: int
    folder: Path


def _disk(folder: Path) -> _Disk:
    """Return the disk that a folder is on, or will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return _Disk(there.stat().st_dev, there)
