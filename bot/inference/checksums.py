"""Compares what is there with its checksums, each piece once, and remembers what is damaged."""

from __future__ import annotations

from bot.inference.hub_files import HubFile
from bot.inference.parts import Key
from bot.inference.progress import Progress
from bot.inference.store import NotStored, Source, Store


class Checksums:
    """What is known to be right of the hub's files and of the store, and what is known to be not.

    Who asks is told by `progress` of what is damaged.
    """

    def __init__(self, store: Store, progress: Progress) -> None:
        self.damaged_files = set[HubFile]()
        self.damaged_parts = set[Key]()
        self._right = set[HubFile]()
        self._store = store
        self._progress = progress

    def note_right(self, file: HubFile) -> None:
        """Note that a file is right: it was compared as it came."""
        self._right.add(file)
        self.damaged_files.discard(file)

    def is_right(self, file: HubFile) -> bool:
        """Tell whether a file that is there is what the hub has, and say so if it is not."""
        if file in self._right:
            return True
        if self._read(file) == file.checksum:
            self._right.add(file)
            return True
        self.damaged_files.add(file)
        self._progress.say(f"{file} is damaged on the disk, and has to be downloaded again.")
        return False

    def is_whole(self, key: Key, source: Source, size: int) -> bool:
        """Tell whether a stored part of a size is as it was written, and say so if it is not."""
        try:
            with self._progress.piece(f"compared: {key.label}", size, counts=False) as advance:
                self._store.compare(source, advance)
        except NotStored as reason:
            self.damaged_parts.add(key)
            self._progress.say(f"The stored {key} {reason}. It has to be made again.")
            return False
        return True

    def _read(self, file: HubFile) -> str:
        checksum, title = file.hash(), f"compared: {file.label}"
        with self._progress.piece(
            title, file.size, counts=False, quiet=not file.is_large
        ) as advance:
            for block in file.blocks():
                checksum.update(block)
                advance(len(block))
        return checksum.hexdigest()
