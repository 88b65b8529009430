"""Checks requests against Discord's own description of its HTTP API, where that file is at hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Self

Schema = dict[str, Any]

FILE = Path(__file__).parents[3] / "shared" / "discord-openapi.json"

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class Contract:
    """The OpenAPI document, or an empty one that nothing can break."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operations)
            for path, operations in document.get("paths", {}).items()
        ]
        # a path without placeholders, as .../@original, goes before one with them
        self._paths.sort(key=lambda each: each[0].pattern.count("[^/]+"))

    @classmethod
    def load(cls, file: Path = FILE) -> Self:
        """Read the document, or none where the file is not there."""
        return cls(json.loads(file.read_text("utf-8")) if file.is_file() else {})

    def faults(self, method: str, path: str, body: Any) -> list[str]:
        """Return what Discord would have against a request, as sentences."""
        if not self._paths:
            return []
        for pattern, operations in self._paths:
            if pattern.fullmatch(path) and (operation := operations.get(method.lower())):
                content = operation.get("requestBody", {}).get("content", {})
                schema = content.get("application/json", {}).get("schema")
                return [] if schema is None else self._check(schema, body, "body")
        return [f"there is no {method} {path}"]

    def _check(self, schema: Schema, value: Any, where: str) -> list[str]:
        if "$ref" in schema:
            return self._check(self._resolve(schema["$ref"]), value, where)
        if schema.get("format") == "snowflake" and type(value) is int:
            value = str(value)  # Discord takes both
        faults = _check_kind(schema, value, where) + _check_limits(schema, value, where)
        for each in schema.get("allOf", []):
            faults += self._check(each, value, where)
        if choices := schema.get("oneOf", schema.get("anyOf")):
            found = [self._check(each, value, where) for each in choices]
            # the alternative that was meant: of the right `type`, and with the fewest faults
            meant = min(found, key=lambda each: (f"{where}.type is" in str(each), len(each)))
            faults += meant
        if isinstance(value, dict):
            faults += [
                f"{where}.{name} is missing"
                for name in schema.get("required", [])
                if name not in value
            ]
            for name, each in schema.get("properties", {}).items():
                if name in value:
                    faults += self._check(each, value[name], f"{where}.{name}")
        if isinstance(value, list) and "items" in schema:
            for index, each in enumerate(value):
                faults += self._check(schema["items"], each, f"{where}[{index}]")
        return faults

    def _resolve(self, reference: str) -> Schema:
        found: Any = self._document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        assert isinstance(found, dict)
        return found


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _check_kind(schema: Schema, value: Any, where: str) -> list[str]:
    names = schema.get("type", [])
    kinds = [kind for name in _listed(names) for kind in _TYPES[name]]
    if kinds and type(value) not in kinds:
        return [f"{where} is {value!r:.80}, not {names}"]
    if value is not None and "enum" in schema and value not in schema["enum"]:
        return [f"{where} is {value!r:.80}, not one of {schema['enum']}"]
    if "const" in schema and value != schema["const"]:
        return [f"{where} is {value!r:.80}, not {schema['const']!r}"]
    return []


def _check_limits(schema: Schema, value: Any, where: str) -> list[str]:
    size: float
    if isinstance(value, int | float):
        size, low, high = value, schema.get("minimum"), schema.get("maximum")
    elif isinstance(value, str | list | dict):
        kind = {"str": "Length", "list": "Items", "dict": "Properties"}[type(value).__name__]
        size, low, high = len(value), schema.get(f"min{kind}"), schema.get(f"max{kind}")
    else:
        return []
    if (low is not None and size < low) or (high is not None and size > high):
        return [f"{where} has {size}, allowed is {low} to {high}"]
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return [f"{where} is {value!r:.80}, not {schema['pattern']}"]
    return []
