"""The schema as a tree of sections and keys, in words.

Apart from its rendering, because it is the only place that knows how pydantic describes a schema:
everything comes from `Config.model_json_schema()`, whose order is the order of the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from src.schema import Config

_TYPE_NAMES = {
    "boolean": "true or false",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "string": "text",
}


@dataclass(frozen=True)
class Key:
    """One leaf of the configuration.

    Attributes:
        path: Dotted, e.g. `teacher.learning_rate`.
        kind: Which values it takes, in words.
        default: As YAML; None when a value must be given.
        meaning: The sentence of the schema, on one line.
    """

    path: str
    kind: str
    default: str | None
    meaning: str


@dataclass(frozen=True)
class Group:
    """A section.

    Attributes:
        path: Dotted; empty for the whole configuration.
        meaning: What the section is for.
        entries: Its keys and sections, in the schema's order.
        key: The key that holds it, when it may be absent (`null`) or is a list; else None.
    """

    path: str
    meaning: str
    entries: tuple[Key | Group, ...]
    key: Key | None = None


def read_schema() -> Group:
    """The whole configuration as a tree of sections and keys."""
    schema = Config.model_json_schema()
    return _read_group("", schema, schema["$defs"])


def walk(node: Key | Group) -> Iterator[Key | Group]:
    """The node and everything below it, in order."""
    yield node
    if isinstance(node, Group):
        for entry in node.entries:
            yield from walk(entry)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _read_group(
    path: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], key: Key | None = None
) -> Group:
    entries = tuple(
        _read_entry(f"{path}.{name}" if path else name, field, definitions)
        for name, field in schema["properties"].items()
    )
    return Group(path, _one_line(schema.get("description", "")), entries, key)


def _read_entry(path: str, field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Key | Group:
    reference = _referenced_section(field)
    key = Key(
        path=path,
        kind=_kind(field, definitions),
        default=format_value(field["default"]) if "default" in field else None,
        meaning=_one_line(field.get("description", "")),
    )
    if reference is None:
        return key
    section = definitions[reference]
    return _read_group(path, section, definitions, key=None if "$ref" in field else key)


def _referenced_section(field: Mapping[str, Any]) -> str | None:
    """Name of the section a field holds: itself, as an item, or as an alternative to null."""
    items = (field.get("items", {}), field.get("additionalProperties", {}))
    for candidate in (field, *items, *field.get("anyOf", ())):
        if isinstance(candidate, dict) and "$ref" in candidate:
            return str(candidate["$ref"]).rpartition("/")[2]
    return None


def _kind(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """`{"type": "integer", "exclusiveMinimum": 0}` → `"whole number > 0"`."""
    section = field.get("$ref", "").rpartition("/")[2]
    if section:
        kind = "a section with " + ", ".join(definitions[section]["properties"])
    elif "anyOf" in field:
        kind = ", or ".join(_kind(option, definitions) for option in field["anyOf"])
    elif "enum" in field:
        kind = "one of " + ", ".join(format_value(value) for value in field["enum"])
    elif "const" in field:
        kind = f"only {format_value(field['const'])}"
    elif field["type"] == "array":
        kind = f"list, each {_kind(field['items'], definitions)}"
    elif field["type"] == "object":
        kind = f"mapping of names to {_kind(field['additionalProperties'], definitions)}"
    else:
        kind = _TYPE_NAMES[field["type"]] + _bounds(field)
    return kind


def _bounds(field: Mapping[str, Any]) -> str:
    if "minimum" in field and "maximum" in field:
        return f" from {field['minimum']:g} to {field['maximum']:g}"
    names = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[name]:g}" for name, sign in names.items() if name in field]
    return f" {' and '.join(limits)}" if limits else ""


def format_value(value: object) -> str:
    """A default as YAML that reads back to the same value; `5e-05` becomes `5.0e-5`."""
    if isinstance(value, float) and "e" in repr(value):
        mantissa, _, exponent = repr(value).partition("e")
        mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
        return f"{mantissa}e{int(exponent):+d}"
    listed = yaml.safe_dump(
        [value], default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000
    )
    return listed.strip()[1:-1]
