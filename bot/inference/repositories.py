"""Where the files of a model lie: in the folder of a built-in family, or in the hub's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from bot.errors import ModelUnavailable
from bot.i18n import _
from bot.inference.tools import Family


@dataclass(frozen=True, kw_only=True, slots=True)
class Repositories:
    """The repositories of one family, and the token that opens those of the hub."""

    family: Family
    token: str | None

    def from_pretrained(self, repo_id: str, load: Callable[..., Any], **options: Any) -> Any:
        """Call a `from_pretrained` for a repository; raise ModelUnavailable."""
        with self.reaching(repo_id):
            return load(self.family.location(repo_id), token=self.token, **options)

    def folder(self, repo_id: str, part: str, *, weights: bool) -> Path:
        """Return the folder of a part, downloaded if need be; raise ModelUnavailable.

        Without `weights` only its configuration is sure to be there.
        """
        if self.family.folder is not None:
            return Path(self.family.location(repo_id)) / part
        inside = f"{part}/" if part else ""
        wanted = [f"{inside}*.json", *([f"{inside}*.safetensors"] if weights else [])]
        with self.reaching(repo_id):
            snapshot = snapshot_download(repo_id, allow_patterns=wanted, token=self.token)
        return Path(snapshot) / part

    def present(self, repo_id: str, part: str) -> Path | None:
        """Return the folder of a part as it was loaded last, without a word to the hub."""
        if self.family.folder is not None:
            return Path(self.family.location(repo_id)) / part
        config = try_to_load_from_cache(repo_id, f"{part}/config.json" if part else "config.json")
        return Path(config).parent if isinstance(config, str) else None

    @contextmanager
    def reaching(self, repo_id: str) -> Iterator[None]:
        """Turn what fails on the way to a repository into ModelUnavailable."""
        try:
            yield
        except Exception as error:
            # of the hub's library, by version: what breaks in mid-download is no OSError
            from_network = type(error).__module__.partition(".")[0] in {"httpx", "httpx2"}
            if not isinstance(error, OSError) and not from_network:
                raise
            raise ModelUnavailable(repo_id, _explain(repo_id, error)) from error


def _explain(repo_id: str, error: BaseException) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(c, GatedRepoError) or "gated repo" in str(c) for c in causes):
        return _(
            "it is gated. The operator accepts its licence at {address} and sets HF_TOKEN.",
            address=f"https://huggingface.co/{repo_id}",
        )
    if any(isinstance(c, RepositoryNotFoundError) for c in causes):
        return _("the hub does not know it, or HF_TOKEN has no access to it.")
    return f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
