"""Sweeps: a request that stands for several, which differ in one option."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from bot.errors import RequestError
from bot.i18n import _, number
from bot.inference.requests import check_guidance, check_quantization, choose_model
from bot.inference.tools import Family, Span, Tool
from bot.inference.types import QUANTIZATIONS, SEED_LIMIT, VARIED, Request, Sweep, Varied

LEAST_CELLS = 2
MOST_CELLS = 16

MAX_TEXT = 200
"""Characters: sixteen seeds, the longest values that there are, take 180."""

EXAMPLE = "steps 1 2 4 8"

DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)", re.ASCII)
SEPARATORS = re.compile(r"[\s,;:=]+")
WHOLE = re.compile(r"-?\d{1,12}")
DECIMAL = re.compile(r"-?\d{0,6}\.?\d{1,6}")

WORD_SHOWN = 20
"""Characters of a value that an error repeats."""

FIELDS: Mapping[Varied, str] = MappingProxyType(
    {
        "steps": "num_inference_steps",
        "guidance": "guidance_scale",
        "seed": "seed",
        "model": "tool",
        "quantization": "quantization",
    }
)
"""What of a request each option sets."""

Values = tuple[int | float | str, ...]


def parse(
    text: str, family: Family, *, model: str, seed: int = 0, given: Collection[str] = ()
) -> Sweep:
    """Return the sweep of a text like `steps 1 2 4 8`; raise RequestError at its first fault.

    It varies a request for a tool and a seed; `given` are the options that were named beside it.
    """
    if len(text.split()) > 2:  # values between blanks: a comma in one is a decimal comma
        text = DECIMAL_COMMA.sub(".", text) if text.split()[0].casefold() == "guidance" else text
    name, *words = list(filter(None, SEPARATORS.split(text))) or [""]
    option = next((each for each in VARIED if each == name.casefold()), None)
    if option is None:
        raise RequestError(
            _("`sweep` begins with what it varies: {options}.", options=", ".join(VARIED)),
            _for_example(EXAMPLE),
        )
    # seeds may be counted, from the one that was named beside them
    count = _whole(words[0]) if option == "seed" and len(words) == 1 else None
    _check_beside(option, given if count is None else {*given} - {"seed"})
    _check_cells(len(words) if count is None else count)
    if count is None:
        values = _values(option, words, family, model)
    else:
        values = tuple((seed + each) % SEED_LIMIT for each in range(count))
    for value in values:
        if values.count(value) > 1:
            raise RequestError(
                _("`sweep` has the value `{value}` twice.", value=label(value)),
                _("Name each value once."),
            )
    if option != "model":
        return Sweep(option=option, values=values)
    tools = [choose_model(family, str(name)) for name in values]
    return Sweep(
        option=option,
        values=values,
        steps=tuple(tool.steps.default for tool in tools),
        guidance=tuple(tool.guidance.default if tool.guidance else None for tool in tools),
    )


def examples(tool: Tool, models: Sequence[str]) -> list[str]:
    """Return sweeps that a tool takes, as they are typed; `models` are those that there are."""
    steps, guidance = tool.steps, tool.guidance
    around: list[tuple[Varied, Iterable[float | str]]] = [
        ("steps", _within(steps, (steps.default * share for share in (0.25, 0.5, 1, 2)))),
        ("seed", (4,)),
        ("quantization", QUANTIZATIONS),
    ]
    if guidance is not None:
        near = (guidance.default + distance for distance in (-1.5, 0, 1.5))
        around.append(("guidance", _within(guidance, near)))
    if len(models) >= LEAST_CELLS:
        around.append(("model", models[:MOST_CELLS]))
    around.sort(key=lambda each: VARIED.index(each[0]))
    return [f"{option} {' '.join(map(label, values))}" for option, values in around]


def swept(request: Request, sweep: Sweep) -> Request:
    """Return the request that stands for all of a sweep."""
    return replace(_cell(request, sweep, 0), sweep=sweep)


def variations(request: Request) -> tuple[Request, ...]:
    """Return the requests that one with a sweep stands for; one without stands for itself."""
    if request.sweep is None:
        return (request,)
    return tuple(_cell(request, request.sweep, each) for each in range(request.cells))


def single(request: Request, position: int) -> Request:
    """Return the request of one of the pictures, counted from 1; raise RequestError for others."""
    if not 1 <= position <= len(request.seeds):
        raise RequestError(
            _("There is no picture {position}.", position=position), _("Choose one that is shown.")
        )
    if request.sweep is not None:
        return _cell(request, request.sweep, position - 1)
    return replace(request, seed=request.seeds[position - 1], count=1)


def compare(request: Request, position: int) -> Request:
    """Return the request of one picture, counted from 1, at 8 bits and in full precision."""
    return swept(single(request, position), Sweep(option="quantization", values=QUANTIZATIONS))


def label(value: float | str) -> str:
    """Return a value as people type it."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def labels(sweep: Sweep) -> tuple[str, ...]:
    """Return the values of a sweep as people type them."""
    return tuple(map(label, sweep.values))


def _values(option: Varied, words: Sequence[str], family: Family, model: str) -> Values:
    """Return what words say as values of an option, each within its range."""
    tool = choose_model(family, model)
    match option:
        case "steps":
            return tuple(tool.steps.choose("steps", _whole(word)) for word in words)
        case "guidance":
            checked = (check_guidance(tool, _decimal(word)) for word in words)
            return tuple(each for each in checked if each is not None)
        case "seed":
            span = Span(0, SEED_LIMIT - 1, 0)
            return tuple(span.choose("seed", _whole(word)) for word in words)
        case "model":
            return tuple(choose_model(family, _shown(word).casefold()).name for word in words)
        case "quantization":
            known = {each.casefold(): each for each in QUANTIZATIONS}
            return tuple(
                check_quantization(known.get(word.casefold(), _shown(word))) for word in words
            )


def _check_cells(cells: int) -> None:
    if cells < LEAST_CELLS:
        raise RequestError(
            _("A sweep has {least} pictures at least.", least=number(LEAST_CELLS)),
            _for_example(EXAMPLE),
        )
    if cells > MOST_CELLS:
        raise RequestError(
            _(
                "A sweep has {most} pictures at most, and this would be {cells}.",
                most=number(MOST_CELLS),
                cells=number(cells),
            ),
            _("Name fewer values."),
        )


def _check_beside(option: Varied, given: Collection[str]) -> None:
    """Raise RequestError where an option was named that goes with no sweep, or not with this."""
    if "count" in given:
        raise RequestError(
            _("`count` and `sweep` do not go together."),
            _("Leave `count` out: `sweep:seed 4` makes pictures of four seeds."),
        )
    own = {"model", "steps", "guidance"} if option == "model" else {option}
    for name in sorted(own.intersection(given)):
        raise RequestError(
            _("`{name}` does not go with a sweep of `{option}`.", name=name, option=option),
            _("Leave it out: each picture has its own."),
        )


def _whole(word: str) -> int:
    if not WHOLE.fullmatch(word):
        raise RequestError(
            _("`{word}` is not a whole number.", word=_shown(word)), _for_example(EXAMPLE)
        )
    return int(word)


def _decimal(word: str) -> float:
    if not DECIMAL.fullmatch(word):
        raise RequestError(
            _("`{word}` is not a number.", word=_shown(word)), _for_example("guidance 2 3.5 5")
        )
    return float(word)


def _for_example(sweep: str) -> str:
    return _("For example `sweep:{example}`.", example=sweep)


def _shown(word: str) -> str:
    return word[:WORD_SHOWN].replace("`", "'")


def _within(span: Span[Any], values: Iterable[float]) -> list[float]:
    """Return values of the kind of a range, each within it and once."""
    kind = type(span.default)
    return sorted({min(max(kind(value), span.low), span.high) for value in values})


def _cell(request: Request, sweep: Sweep, index: int) -> Request:
    changes: dict[str, Any] = {FIELDS[sweep.option]: sweep.values[index]}
    if sweep.option == "model":
        changes["num_inference_steps"] = sweep.steps[index]
        changes["guidance_scale"] = sweep.guidance[index]
    return replace(request, sweep=None, count=1, **changes)
