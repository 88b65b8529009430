"""Downloads into the hub's cache that go on at the byte where they broke, compared as they come.

The hub's own library begins a file anew after each cut, and looks at its size alone in the end.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from huggingface_hub import constants, get_session, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from bot.errors import DiskFilled, DownloadBroke, DownloadDamaged
from bot.inference.hub_files import BLOCK, HubFile
from bot.inference.progress import Advance, Progress
from bot.inference.repositories import Repositories, is_of_the_network

WAITS = (0, 1, 2, 5, 10, 20, 30, 60)
"""Seconds before each new try while no byte comes: a line may be gone for two minutes."""

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Answers of a hub that may soon give another."""


class Arrival:
    """What has come of a file so far, and its checksum as far as that."""

    def __init__(self, file: HubFile, stream: BinaryIO) -> None:
        self._file, self._stream = file, stream
        self.size = 0
        self._checksum = file.hash()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return self.size >= self._file.size

    @property
    def is_right(self) -> bool:
        """Whether it is what the hub has."""
        return self._checksum.hexdigest() == self._file.checksum

    def read_back(self, advance: Advance) -> None:
        """Begin with what came before the way broke."""
        self._stream.seek(0)
        while block := self._stream.read(BLOCK):
            self._note(block)
            advance(len(block))

    def add(self, block: bytes) -> None:
        """Write what comes next."""
        self._stream.write(block)
        self._note(block)

    def drop(self) -> None:
        """Begin anew."""
        self._stream.truncate(0)
        self.size, self._checksum = 0, self._file.hash()

    def _note(self, block: bytes) -> None:
        self._checksum.update(block)
        self.size += len(block)


class Downloads:
    """Brings files into the hub's cache, one after the other, where its library finds them."""

    def __init__(self, repositories: Repositories, progress: Progress) -> None:
        self._repositories = repositories
        self._progress = progress

    def fetch(self, file: HubFile) -> None:
        """Bring a file into the cache, whole and compared with the hub's checksum.

        Raise DownloadBroke, DownloadDamaged, DiskFilled or ModelUnavailable.
        """
        with self._repositories.reaching(file.repo_id), minding_the_disk(file.blob.parent):
            with self._alone(file):
                if not file.is_there:
                    self._complete(file)
            # all of it is there: what this adds is its name
            hf_hub_download(
                file.repo_id, file.name, revision=file.commit, token=self._repositories.token
            )

    @contextmanager
    def _alone(self, file: HubFile) -> Iterator[None]:
        """Keep other processes from the same file, the bot's among them."""
        for folder in (file.lock.parent, file.blob.parent):
            folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._progress.say(f"Another process downloads {file}, and this one waits for it.")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _complete(self, file: HubFile) -> None:
        for leftover in file.blob.parent.glob(f"{file.checksum}.*.incomplete"):
            leftover.unlink(missing_ok=True)  # of the library's, which never goes on with them
        if not self._receive(file):
            self._progress.say(f"{file} arrived damaged, and is downloaded once more.")
            if not self._receive(file):
                raise DownloadDamaged(file.repo_id, file.name)
        file.partial.replace(file.blob)

    def _receive(self, file: HubFile) -> bool:
        """Download what is missing of a file, and tell whether it is right; if not, delete it.

        What has arrived stays where the way breaks.
        """
        with file.partial.open("ab+") as stream:
            arrival = Arrival(file, stream)
            if there := file.arrived:
                with self._progress.piece(
                    f"read again: {file.label}", there, counts=False
                ) as advance:
                    arrival.read_back(advance)
            with self._progress.piece(
                file.label, file.size, arrival.size, counts=True, quiet=not file.is_large
            ) as advance:
                self._patiently(file, arrival, advance)
                if not arrival.is_right:
                    advance(-arrival.size)
                    arrival.drop()
            stream.flush()
            os.fsync(stream.fileno())  # what was compared is to be what lies on the disk
        return arrival.is_whole

    def _patiently(self, file: HubFile, arrival: Arrival, advance: Advance) -> None:
        """Go on with a file until it is whole, also where the way breaks for a while."""
        waits = iter(WAITS)
        while not arrival.is_whole:
            before = arrival.size
            try:
                self._go_on(file, arrival, advance)
                reason = "the hub sent less than the file has"
            except Exception as error:
                if not _may_pass(error):
                    raise
                reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".: ")
            if arrival.is_whole:
                return
            if arrival.size > before:
                waits = iter(WAITS)
            wait = next(waits, None)
            if wait is None:
                raise DownloadBroke(file.repo_id, reason)
            if wait:
                self._progress.say(f"{file} waits {wait} s: {reason}.")
                self._progress.overall.rest()
                time.sleep(wait)

    def _go_on(self, file: HubFile, arrival: Arrival, advance: Advance) -> None:
        """Ask for what is missing of a file, and write what comes until it is whole."""
        headers = build_hf_headers(token=self._repositories.token)
        headers["Accept-Encoding"] = "identity"  # bytes are counted
        if arrival.size:
            headers["Range"] = f"bytes={arrival.size}-"
        url = hf_hub_url(file.repo_id, file.name, revision=file.commit)
        with get_session().stream(
            "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        ) as response:
            hf_raise_for_status(response)
            if arrival.size and response.status_code != 206:
                advance(-arrival.size)
                arrival.drop()
            for block in response.iter_bytes():
                arrival.add(block)
                advance(len(block))


@contextmanager
def minding_the_disk(folder: Path) -> Iterator[None]:
    """Turn what comes of a full disk into DiskFilled."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFilled(folder) from error


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    return is_of_the_network(error)
