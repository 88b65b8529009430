"""What is kept of earlier jobs, so that another seed needs no second look at words and images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The values used last, up to a number of bytes; what alone is larger is not kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        """Return the value of a key, None if it is not kept, and count it as used."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep a value of `size` bytes, and let go of those that were not used for longest."""
        self._values[key] = value, size
        self._values.move_to_end(key)
        while self.bytes > self._limit:
            self._values.popitem(last=False)

    @property
    def bytes(self) -> int:
        """What all values take."""
        return sum(size for _, size in self._values.values())

    def clear(self) -> None:
        """Let go of everything."""
        self._values.clear()
