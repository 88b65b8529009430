"""Variables of the environment: how each is read, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A variable of the environment: how it is read, what it may be, and what it is for."""

    parse: Callable[[str], object]
    allowed: str
    about: str


def variable(
    default: T, parse: Callable[[str], T], allowed: str, about: str, *, secret: bool = False
) -> T:
    """Return the field of a variable, which tells all that is to be known of it.

    `.env.example` and docs/environment.md are made of it, by `python -m tools.environment`.
    """
    told = Variable(parse=parse, allowed=allowed, about=about)
    described: Any = field(default=default, repr=not secret, metadata={"variable": told})
    return cast(T, described)


def choice(default: T, allowed: tuple[T, ...], about: str) -> T:
    """Return the field of a variable that is one of a few words, in upper or lower case."""
    return variable(default, _one_of(allowed), ", ".join(map(str, allowed)), about)


def _one_of(allowed: tuple[T, ...]) -> Callable[[str], T]:
    def parse(text: str) -> T:
        for value in allowed:
            if text.lower() == str(value).lower():
                return value
        raise ValueError(text)

    return parse


def devices(text: str) -> tuple[str, ...]:
    """Read one device, or several GPUs, each of which gets a worker of its own."""
    found = tuple(name.strip() for name in text.split(","))
    alone, several = r"auto|cpu|mps|cuda(:\d+)?", r"cuda:\d+"
    allowed = alone if len(found) == 1 else several
    if len(set(found)) < len(found) or not all(re.fullmatch(allowed, name) for name in found):
        raise ValueError(text)
    return found


def repo_id(text: str) -> str:
    """Read the id of a repository on the Hugging Face hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise ValueError(text)
    return text


def repo_id_or_folder(text: str) -> str:
    """Read the id of a repository, or a folder that is there."""
    return text if Path(text).is_dir() else repo_id(text)


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between them, at least one."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise ValueError(text)
    return found


def positive(text: str) -> float:
    """Read a number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def count(text: str) -> int:
    """Read a whole number above 0."""
    if not re.fullmatch(r"\d{1,4}", text) or int(text) == 0:
        raise ValueError(text)
    return int(text)


def port(text: str) -> int:
    """Read the number of a port."""
    if not re.fullmatch(r"\d{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError(text)
    return int(text)


def ray_address(text: str) -> str:
    """Read the address of a Ray cluster, as a node of it knows it."""
    if not re.fullmatch(r"auto|[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", text):
        raise ValueError(text)
    return text


def snowflake(text: str) -> int:
    """Read an id of Discord's."""
    if not re.fullmatch(r"\d{15,20}", text):
        raise ValueError(text)
    return int(text)


def snowflakes(text: str) -> frozenset[int]:
    """Read ids of Discord's with commas between them."""
    return frozenset(snowflake(each.strip()) for each in text.split(","))
