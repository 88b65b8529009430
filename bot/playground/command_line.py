"""The text of a slash command, `/generate prompt:a red circle seed:7`, as Discord reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discord import AppCommandOptionType, app_commands

from bot.errors import BotError

SlashCommand = app_commands.Command[Any, ..., Any]
Offered = SlashCommand | app_commands.Group
Value = str | int | float | bool | Path

BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
SHOWN_CHARACTERS = 60

FIRST_WORD = re.compile(r"\s*(\S*)\s*(.*)", re.DOTALL)
# A value in quotes may hold what looks like an option; \" and \\ stand for a quote and a backslash.
QUOTED = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*', re.DOTALL)
ESCAPED = re.compile(r'\\(["\\])')
LIKE_AN_OPTION = re.compile(r"(?<!\S)([A-Za-z][\w-]*):")


class BadCommand(BotError):
    """The text is not a command of this bot, or a value in it is not allowed."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """A slash command, its options in the types that the bot declared; an attachment is a path."""

    command: str
    options: Mapping[str, Value]


def read(text: str, commands: Iterable[Offered]) -> Invocation:
    """Read the text of a slash command; where it is wrong, `BadCommand` says what is allowed."""
    command, rest = _command(text, commands)
    parameters = {parameter.display_name: parameter for parameter in command.parameters}
    options: dict[str, Value] = {}
    for name, value in _options(rest, command, parameters):
        if name in options:
            raise BadCommand(f"`{name}` is given twice; a text that contains it goes in quotes.")
        options[name] = _typed(value, command, parameters[name])
    missing = [name for name, each in parameters.items() if each.required and name not in options]
    if missing:
        raise BadCommand(f"`/{command.qualified_name}` needs {_listed(missing)} as well.")
    return Invocation(command=command.qualified_name, options=options)


def _command(text: str, commands: Iterable[Offered]) -> tuple[SlashCommand, str]:
    """Follow the first words through the groups to a command; what is left are its options."""
    offered: Mapping[str, Offered] = {command.name: command for command in commands}
    path, rest = "/", text.strip().removeprefix("/")
    while True:
        match = FIRST_WORD.fullmatch(rest)
        assert match is not None  # every part of the pattern may be empty
        word, rest = match.groups()
        if word not in offered:
            problem = f"There is no command `{path}{word}`" if word else "A command is missing"
            names = _listed(f"{path}{name}" for name in offered)
            raise BadCommand(f"{problem}: the bot offers {names}.")
        found = offered[word]
        if isinstance(found, app_commands.Command):
            return found, rest.rstrip()
        path, offered = f"{path}{word} ", {child.name: child for child in found.commands}


def _options(text: str, command: SlashCommand, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """Cut `name:value name:value` at the names of this command's options, and nowhere else."""
    start = re.compile(rf"(?<!\S)({'|'.join(map(re.escape, names)) or '(?!)'}):")
    position = 0
    while position < len(text):
        option = start.match(text, position)
        if option is None:
            raise _unknown(text[position:], command)
        value, position = _value(text, option.end(), start)
        yield option[1], value


def _value(text: str, begin: int, start: re.Pattern[str]) -> tuple[str, int]:
    quoted = QUOTED.match(text, begin)
    if quoted and (quoted.end() == len(text) or start.match(text, quoted.end())):
        return ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    following = start.search(text, begin)
    end = following.start() if following else len(text)
    return text[begin:end].strip(), end


def _typed(text: str, command: SlashCommand, parameter: app_commands.Parameter) -> Value:
    """The value that Discord would send for this text."""
    name = parameter.display_name
    if not text:
        raise BadCommand(f"`{name}` is empty: it takes {_allowed(parameter)}.")
    try:
        if parameter.choices:
            return _chosen(text, parameter)
        match parameter.type:
            case AppCommandOptionType.string:
                _check_range(len(text), parameter)
                return text
            case AppCommandOptionType.integer:
                _check_range(int(text), parameter)
                return int(text)
            case AppCommandOptionType.number:
                _check_range(float(text), parameter)
                return float(text)
            case AppCommandOptionType.boolean:
                return BOOLEANS[text.casefold()]
            case AppCommandOptionType.attachment:
                return Path(text).expanduser()
            case other:
                raise BadCommand(f"`{name}` takes a {other.name}, which only a real server has.")
    except (ValueError, KeyError, OverflowError):
        stray = LIKE_AN_OPTION.search(text)
        if stray:
            raise _unknown(text[stray.start() :], command) from None
        shown = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
        raise BadCommand(f"`{name}` takes {_allowed(parameter)}, not `{shown}`.") from None


def _chosen(text: str, parameter: app_commands.Parameter) -> Value:
    for choice in parameter.choices:
        if text.casefold() in (choice.name.casefold(), str(choice.value).casefold()):
            value: Value = choice.value
            return value
    raise ValueError(text)


def _check_range(size: float, parameter: app_commands.Parameter) -> None:
    low = -math.inf if parameter.min_value is None else parameter.min_value
    high = math.inf if parameter.max_value is None else parameter.max_value
    if not (math.isfinite(size) and low <= size <= high):
        raise ValueError(size)


def _allowed(parameter: app_commands.Parameter) -> str:
    """What an option takes, in words: `a whole number from 1 to 50`."""
    if parameter.choices:
        return f"one of {_listed(str(choice.value) for choice in parameter.choices)}"
    low, high = parameter.min_value, parameter.max_value
    match parameter.type:
        case AppCommandOptionType.boolean:
            return "`true` or `false`"
        case AppCommandOptionType.attachment:
            return "the path of a file"
        case AppCommandOptionType.string:
            # Without a limit of the bot's own, Discord takes up to 6000 characters.
            return f"a text of {low or 1} to {high or 6000} characters"
        case AppCommandOptionType.integer:
            kind = "a whole number"
        case _:
            kind = "a number"
    if low is None and high is None:
        return kind
    if low is None or high is None:
        return f"{kind} of at {f'most {high}' if low is None else f'least {low}'}"
    return f"{kind} from {low} to {high}"


def _unknown(text: str, command: SlashCommand) -> BadCommand:
    """The error for a text that belongs to none of the command's options."""
    name = f"/{command.qualified_name}"
    if not command.parameters:
        return BadCommand(f"`{name}` takes no options, so `{text}` is too much.")
    options = _listed(parameter.display_name for parameter in command.parameters)
    named = LIKE_AN_OPTION.match(text)
    if named:
        return BadCommand(f"`{name}` has no option `{named[1]}`: it takes {options}.")
    return BadCommand(
        f"`{text}` belongs to no option of `{name}`: write `name:value`, where the name is one of "
        f"{options}."
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
