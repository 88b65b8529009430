"""The memory that this process may have: the machine's, or what its container leaves it of that.

Docker, Kubernetes and systemd set limits by Linux's control groups, of version 2 or still 1; psutil
tells what the machine has.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class _Names:
    """What the files of a version are called, and what in its statistics can be given back."""

    limit: str
    used: str
    cache: str


_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")
_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def host_memory() -> tuple[int, int]:
    """Return the free and the total bytes of host memory, as far as this process may have them."""
    host = psutil.virtual_memory()
    free, total = host.available, host.total
    if sys.platform == "linux":
        for limit, used in _limits(OWN_GROUPS, GROUPS):
            total, free = min(total, limit), min(free, max(0, limit - used))
    return free, total


def _limits(own_groups: Path, groups: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and use of this process's groups and of those around them, in bytes."""
    with suppress(OSError):
        for line in own_groups.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if not kinds:
                yield from _of_group(groups, path, _VERSION_2)
            elif "memory" in kinds.split(","):
                yield from _of_group(groups / "memory", path, _VERSION_1)


def _of_group(root: Path, path: str, names: _Names) -> Iterator[tuple[int, int]]:
    own = root / path.lstrip("/")
    for folder in (own, *own.parents):
        if not folder.is_relative_to(root):
            return
        # a group may be without limit ("max"), and out of sight from within a container
        with suppress(OSError, ValueError):
            limit = int((folder / names.limit).read_text())
            yield limit, int((folder / names.used).read_text()) - _cached(folder, names)


def _cached(folder: Path, names: _Names) -> int:
    """Return how many bytes are files that were read, which make room when it is needed."""
    lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
    return next((int(count) for name, count in lines if name == names.cache), 0)
