"""Which commit of a repository is read: the first one that was, until the operator says otherwise.

What the hub has under a name may change at any time, by its owner's hand or by a thief's.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from huggingface_hub import constants

from bot.errors import ModelUnavailable

_log = logging.getLogger(__name__)

FILE = "revisions.json"
"""Commits by the ids of repositories. Who writes another commit there, has that one; who takes a
line out, has what the hub's cache calls `main`, and what is newest where it has none."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
"""No branch and no tag: what they name changes, and without the hub nobody knows it."""


def pinned(folder: Path, repo_id: str, ask: Callable[[], str]) -> str:
    """Return the commit that is noted in a folder; where there is none, `ask` for one and note it.

    What the hub's cache has of a repository goes before what the hub has. Raises ModelUnavailable.
    """
    if commit := noted(folder, repo_id):
        return commit
    commit = _cached(repo_id) or ask()
    try:
        return _note(folder, repo_id, commit)
    except OSError as error:
        _log.warning("which commit is read of %s could not be noted: %s", repo_id, error)
        return commit


def noted(folder: Path, repo_id: str) -> str | None:
    """Return the commit that is noted in a folder, None where there is none."""
    return _read(folder / FILE, repo_id).get(repo_id)


def foreseen(folder: Path, repo_id: str) -> str | None:
    """Return the commit that `pinned` gives without asking, and note nothing; None if it asks."""
    return noted(folder, repo_id) or _cached(repo_id)


def _cached(repo_id: str) -> str | None:
    """Return the commit that was the newest when the hub's cache was last filled."""
    repository = f"models--{repo_id.replace('/', '--')}"
    main = Path(constants.HF_HUB_CACHE) / repository / "refs" / constants.DEFAULT_REVISION
    return main.read_text(encoding="utf-8").strip() if main.is_file() else None


def _note(folder: Path, repo_id: str, commit: str) -> str:
    """Note a commit, unless another process was faster, and return the one that is noted then."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder / f"{FILE}.lock"):
        commits = {repo_id: commit} | _read(folder / FILE, repo_id)
        # under another name first, so that nobody reads half of it
        partial = folder / f"{FILE}.partial"
        partial.write_text(json.dumps(commits, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(folder / FILE)
    return commits[repo_id]


def _read(file: Path, repo_id: str) -> dict[str, str]:
    if not file.exists():
        return {}
    try:
        commits = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelUnavailable(repo_id, f"{file} is no JSON ({error}).") from error
    if not isinstance(commits, dict) or not all(_is_commit(c) for c in commits.values()):
        raise ModelUnavailable(repo_id, f"{file} has something else than commits by repository.")
    return commits


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and _COMMIT.fullmatch(value) is not None
