"""Whether the Hugging Face hub lets the bot read the weights, and what opens those it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from bot.checks.finding import Finding, fault, ok, unchecked
from bot.config import Settings
from bot.inference.tools import FAMILIES, SHARED_REPO

SECONDS, LONGEST = 5.0, 15.0
"""For the hub to take a connection and to answer, and for all of it: looking up its name, too."""

TOKENS = "https://huggingface.co/settings/tokens"


async def check_hub(settings: Settings) -> list[Finding]:
    """Ask the hub for each repository whether the token opens it."""
    repo_ids = _repo_ids(settings)
    if not repo_ids:
        return [ok("hub", "not needed: the tiny models are built in")]
    get_session().timeout = SECONDS
    api = HfApi(token=settings.hf_token)
    answers = await asyncio.gather(
        *(_answer(api, repo_id, settings.hf_token) for repo_id in repo_ids)
    )
    refused = [answer for answer in answers if answer is not None and answer.state == "fault"]
    # of an answer that says the same of all repositories, once is enough
    once = {answer.found: answer for answer in refused}
    silent = [answer for answer in answers if answer is not None and answer.state == "unchecked"]
    opened = len(repo_ids) - len(refused) - len(silent)
    found = [ok("hub", f"{opened} of {len(repo_ids)} repositories can be read")] if opened else []
    return [*found, *once.values(), *silent[:1]]


def _repo_ids(settings: Settings) -> list[str]:
    """Return the repositories that the bot reads, each once."""
    family, repo_ids = FAMILIES[settings.flux_models], []
    if family.folder is None:
        repo_ids = [SHARED_REPO]
        for tool in family.tools().values():
            repo_ids += [tool.repo_id, tool.transformer_repo_id]
        repo_ids += [settings.depth_model, settings.segmenter]
    if settings.classifier is not None and not Path(settings.classifier).is_dir():
        repo_ids.append(settings.classifier)
    return list(dict.fromkeys(repo_ids))


async def _answer(api: HfApi, repo_id: str, token: str | None) -> Finding | None:
    try:
        return await asyncio.wait_for(asyncio.to_thread(_ask, api, repo_id, token), LONGEST)
    except TimeoutError:
        return unchecked("hub", f"it did not answer within {LONGEST:.0f} s")


def _ask(api: HfApi, repo_id: str, token: str | None) -> Finding | None:
    """Return what keeps the bot from a repository, None if nothing does."""
    try:
        api.auth_check(repo_id)
    except OfflineModeIsEnabled:
        return unchecked("hub", "HF_HUB_OFFLINE is set")
    except GatedRepoError:
        return _gated(repo_id, token)
    except RepositoryNotFoundError:
        return fault(
            "hub",
            f"{repo_id} is not known there, or HF_TOKEN has no access to it",
            f"check its name, and the rights of the token at {TOKENS}",
        )
    except HfHubHTTPError as error:
        return _refusal(repo_id, error.response.status_code)
    except Exception as error:
        # of the hub's HTTP library, whose name changes with its version
        return unchecked("hub", f"it cannot be reached ({type(error).__name__})")
    return None


def _gated(repo_id: str, token: str | None) -> Finding:
    accept = f"accept its licence at https://huggingface.co/{repo_id}"
    if token is None:
        return fault(
            "hub",
            f"{repo_id} is gated, and HF_TOKEN is not set",
            f"{accept} and set HF_TOKEN to a token from {TOKENS}",
        )
    return fault("hub", f"{repo_id} is gated, and closed to HF_TOKEN", f"{accept} as its owner")


def _refusal(repo_id: str, status: int) -> Finding:
    match status:
        case 401:
            return fault("hub", "HF_TOKEN is refused", f"set it to a token from {TOKENS}")
        case 403:
            return fault(
                "hub",
                f"{repo_id} is closed to HF_TOKEN",
                f"accept its licence at https://huggingface.co/{repo_id}, and let the token read"
                f" gated repositories at {TOKENS}",
            )
    return unchecked("hub", f"it answers with status {status}")
