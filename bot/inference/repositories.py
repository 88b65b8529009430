"""Where the files of a model lie: in the folder of a built-in family, or in the hub's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
)

from bot.errors import ModelUnavailable
from bot.i18n import _
from bot.inference.revisions import foreseen, noted, pinned
from bot.inference.tools import Family

TOKENS = "https://huggingface.co/settings/tokens"

WEIGHTS = ".safetensors"
BESIDE_WEIGHTS = (".json", ".txt", ".model")
"""Ends of the names of configurations, and of what tokenizers and image processors are made of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repositories:
    """The repositories of one family, and the token that opens those of the hub.

    In `notes` it is kept which commit of each is read; without that folder it is the newest.
    """

    family: Family
    token: str | None
    notes: Path | None = None

    def revision(self, repo_id: str) -> str | None:
        """Return the commit of a repository that is read, None for what has none; may ask the hub.

        To be called while `reaching` it.
        """
        if self.notes is None or not self.is_on_the_hub(repo_id):
            return None
        return pinned(self.notes, repo_id, lambda: self._newest(repo_id))

    def foreseen_revision(self, repo_id: str) -> str | None:
        """Return the commit that will be read, None where it is the newest, and note nothing."""
        return foreseen(self.notes, repo_id) if self.notes is not None else None

    def from_pretrained(
        self,
        repo_id: str,
        load: Callable[..., Any],
        *,
        part: str = "",
        weights: bool = False,
        **options: Any,
    ) -> Any:
        """Call a `from_pretrained` for the folder of a part; raise ModelUnavailable.

        Given the name of a repository, transformers asks the hub at each start for what it might
        have besides, and diffusers cannot do without its answer where weights are in several files.
        """
        folder = self.folder(repo_id, part, weights=weights)
        with self.reaching(repo_id):
            return load(str(folder), **options)

    def folder(self, repo_id: str, part: str, *, weights: bool) -> Path:
        """Return the folder of a part, downloaded if need be; raise ModelUnavailable.

        Without `weights` only what is beside them is sure to be there. What is in folders below is
        not the part's.
        """
        if not self.is_on_the_hub(repo_id):
            return Path(self.family.location(repo_id)) / part
        inside = f"{part}/" if part else ""
        ends = (*BESIDE_WEIGHTS, WEIGHTS) if weights else BESIDE_WEIGHTS
        with self.reaching(repo_id):
            snapshot = snapshot_download(
                repo_id,
                revision=self.revision(repo_id),
                allow_patterns=[f"{inside}*{end}" for end in ends],
                ignore_patterns=f"{inside}*/*",
                token=self.token,
            )
        return Path(snapshot) / part

    def present(self, repo_id: str, part: str) -> Path | None:
        """Return the folder of a part as it was loaded last, without a word to the hub."""
        if self.family.folder is not None:
            return Path(self.family.location(repo_id)) / part
        revision = noted(self.notes, repo_id) if self.notes is not None else None
        name = f"{part}/config.json" if part else "config.json"
        config = try_to_load_from_cache(repo_id, name, revision=revision)
        return Path(config).parent if isinstance(config, str) else None

    def is_on_the_hub(self, repo_id: str) -> bool:
        """Tell whether a repository is the hub's, and no folder of this machine."""
        return self.family.folder is None and not Path(repo_id).is_dir()

    def _newest(self, repo_id: str) -> str:
        commit: str | None = HfApi(token=self.token).model_info(repo_id).sha
        if commit is None:  # a mirror may leave it out
            raise OSError("the hub does not say which commit is its newest.")
        return commit

    @contextmanager
    def reaching(self, repo_id: str) -> Iterator[None]:
        """Turn what fails on the way to a repository into ModelUnavailable."""
        try:
            yield
        except Exception as error:
            # what is no id of a repository may be a folder that has gone
            known = isinstance(error, OSError | HFValidationError)
            if not known and not is_of_the_network(error):
                raise
            raise ModelUnavailable(repo_id, _explain(repo_id, error)) from error


def is_of_the_network(error: BaseException) -> bool:
    """Tell whether an error is of the hub's HTTP library, whose name changes with its version.

    What breaks in the middle of a download is no OSError.
    """
    return type(error).__module__.partition(".")[0] in {"httpx", "httpx2"}


def _explain(repo_id: str, error: BaseException) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(c, GatedRepoError) or "access a gated repo" in str(c) for c in causes):
        return _(
            "it is gated. The operator accepts its licence at {address} and sets HF_TOKEN.",
            address=f"https://huggingface.co/{repo_id}",
        )
    if any(isinstance(c, RepositoryNotFoundError) for c in causes):
        return _("the hub does not know it, or HF_TOKEN has no access to it.")
    if any(isinstance(c, HfHubHTTPError) and c.response.status_code == 401 for c in causes):
        return _(
            "the hub refuses HF_TOKEN. The operator sets it to a token from {address}.",
            address=TOKENS,
        )
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if any(is_of_the_network(c) for c in causes):
        return _("the hub cannot be reached ({reason}).", reason=reason)
    return reason
