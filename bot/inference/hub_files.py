"""The files of repositories as the hub knows them, with checksums, and where they lie here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from bot.inference.repositories import BESIDE_WEIGHTS, WEIGHTS, Repositories

BLOCK = 2**22
"""Bytes that are read at once."""


class Hash(Protocol):
    """A checksum in the making, as hashlib's."""

    def update(self, block: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """One file of a repository at one commit; `size` is in bytes.

    The hub knows large files by their SHA-256, and small ones by git's own hash, a SHA-1. That
    checksum is also the name of the file in the hub's cache.
    """

    repo_id: str
    commit: str
    name: str
    size: int
    checksum: str

    def __str__(self) -> str:
        return f"{self.name} of {self.repo_id}"

    @property
    def label(self) -> str:
        """What it is called beside a bar, where there is little room."""
        return f"{self.repo_id.rpartition('/')[2]}/{self.name}"

    @property
    def is_large(self) -> bool:
        """Whether the hub keeps it outside of git, as it does with weights."""
        return len(self.checksum) == hashlib.sha256().digest_size * 2

    @property
    def blob(self) -> Path:
        """Where the cache keeps what is in the file."""
        return _repository(self.repo_id) / "blobs" / self.checksum

    @property
    def pointer(self) -> Path:
        """Where the cache shows the file under its own name."""
        return _repository(self.repo_id) / "snapshots" / self.commit / self.name

    @property
    def partial(self) -> Path:
        """Where its beginning lies until all of it has arrived."""
        return self.blob.with_name(f"{self.checksum}.incomplete")

    @property
    def lock(self) -> Path:
        """What the hub's library locks too while it downloads the file."""
        folder = _repository(self.repo_id)
        return folder.parent / ".locks" / folder.name / f"{self.checksum}.lock"

    @property
    def is_there(self) -> bool:
        """Whether all of it has arrived."""
        return self.pointer.exists() or self.blob.exists()

    @property
    def arrived(self) -> int:
        """How many of its bytes are here."""
        if self.is_there:
            return self.size
        return min(self.partial.stat().st_size, self.size) if self.partial.exists() else 0

    def hash(self) -> Hash:
        """Return what becomes the checksum once it has been given all bytes of the file."""
        if self.is_large:
            return hashlib.sha256()
        return hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)

    def blocks(self) -> Iterator[bytes]:
        """Yield what lies in the cache, block by block."""
        with (self.pointer if self.pointer.exists() else self.blob).open("rb") as stream:
            while block := stream.read(BLOCK):
                yield block

    def delete(self) -> None:
        """Take the file out of the cache."""
        self.pointer.unlink(missing_ok=True)
        self.blob.unlink(missing_ok=True)


class Hub:
    """What the hub has, each repository asked for once.

    Of each it is the commit that is read, which is noted, unless `noting` is off.
    """

    def __init__(self, repositories: Repositories, *, noting: bool = True) -> None:
        self._repositories = repositories
        self._revision = repositories.revision if noting else repositories.foreseen_revision
        self._api = HfApi(token=repositories.token)
        self._listings: dict[str, list[HubFile]] = {}

    def files(self, repo_id: str, folder: str, *, weights: bool) -> list[HubFile]:
        """Return the files of a folder, with or without its weights; raise ModelUnavailable.

        There are none of what is no repository of the hub, as the models of a built-in family.
        """
        if not self._repositories.is_on_the_hub(repo_id):
            return []
        ends = (*BESIDE_WEIGHTS, WEIGHTS) if weights else BESIDE_WEIGHTS
        return [
            file
            for file in self.listing(repo_id)
            if file.name.rpartition("/")[0] == folder and file.name.endswith(ends)
        ]

    def listing(self, repo_id: str) -> list[HubFile]:
        """Return all files of a repository; raise ModelUnavailable."""
        if repo_id not in self._listings:
            self._listings[repo_id] = self._list(repo_id)
        return self._listings[repo_id]

    def ask(self, repo_id: str) -> None:
        """Raise ModelUnavailable unless the token opens a repository."""
        with self._repositories.reaching(repo_id):
            try:
                self._api.auth_check(repo_id)
            except GatedRepoError:
                raise
            except RepositoryNotFoundError:
                # not every mirror knows this question, nor is the answer new: `files` asks as well
                return

    def _list(self, repo_id: str) -> list[HubFile]:
        with self._repositories.reaching(repo_id):
            revision = self._revision(repo_id)
            info = self._api.model_info(repo_id, revision=revision, files_metadata=True)
        return [
            HubFile(
                repo_id=repo_id,
                commit=info.sha,
                name=sibling.rfilename,
                size=sibling.size,
                checksum=sibling.lfs.sha256 if sibling.lfs else sibling.blob_id,
            )
            for sibling in info.siblings
        ]


def snapshot(repo_id: str, commit: str) -> Path:
    """Return where the cache shows a repository as it was at a commit."""
    return _repository(repo_id) / "snapshots" / commit


def _repository(repo_id: str) -> Path:
    return Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"
