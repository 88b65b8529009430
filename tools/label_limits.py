"""How long the labels of buttons, selects and modals may be, read from the source."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

LIMITS = {
    ("Button", "label"): 80,
    ("SelectOption", "label"): 100,
    ("SelectOption", "description"): 100,
    ("Label", "text"): 45,
    ("Label", "description"): 100,
    ("Select", "placeholder"): 150,
    ("Input", "placeholder"): 100,
    ("__init__", "title"): 45,  # of a modal
}
"""Characters that Discord takes, by how the class's name ends and the argument's is."""

MARKS = ("_", "N_")


def label_limits(root: Path) -> Iterator[tuple[str, int]]:
    """Yield each text that is given for a label somewhere, with how long it may be there.

    Constants count with all texts in them, so that of a table of labels each has its limit.
    """
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.py"))]
    constants = _constants(trees)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield from _of_call(node, constants)


def _of_call(call: ast.Call, constants: Mapping[str, set[str]]) -> Iterator[tuple[str, int]]:
    called = _called(call)
    for keyword in call.keywords:
        for (end, argument), limit in LIMITS.items():
            if called.endswith(end) and keyword.arg == argument:
                yield from ((text, limit) for text in _texts(keyword.value, constants))
    if called.endswith("Button"):  # one of our own, which is given its label
        for positional in call.args:
            yield from ((text, LIMITS["Button", "label"]) for text in _texts(positional, {}))


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name
        case _:
            return ""


def _texts(node: ast.AST, constants: Mapping[str, set[str]]) -> set[str]:
    """Return the texts that are marked in an expression, or in a constant that it names."""
    found: set[str] = set()
    for each in ast.walk(node):
        match each:
            case ast.Call(func=ast.Name(id=mark), args=[ast.Constant(value=str(text)), *_rest]):
                if mark in MARKS:
                    found.add(text)
            case ast.Name(id=name):
                found |= constants.get(name, set())
    return found


def _constants(trees: list[ast.Module]) -> Mapping[str, set[str]]:
    """Return the marked texts in each module's constants, by their names."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for tree in trees:
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found[name] |= _texts(value, {})
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    found[name] |= _texts(value, {})
    return found
