"""Reading the configuration: files, overrides, and every problem said at once.

Order: schema defaults < files in the order given < a preset < `section.key=value` overrides. What
each key means stands in `src.schema`; this module turns text into a frozen `Config` or one
`ConfigError` that lists all problems, each with where it came from and, for unknown keys, the
nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from src.errors import ConfigError
from src.schema import Config, Section

__all__ = [
    "Config",
    "config_files",
    "config_fingerprint",
    "config_to_yaml",
    "known_keys",
    "load_config",
    "preset_file",
    "preset_names",
]

DEFAULT_FILE = "config.yaml"
PRESETS = Path(__file__).resolve().parents[1] / "configs" / "presets"
KeyPath = tuple[str, ...]


def load_config(
    files: Sequence[Path | str] | None = None,
    overrides: Sequence[str] = (),
    *,
    preset: str | None = None,
) -> Config:
    """Reads, merges and checks the configuration.

    Args:
        files: YAML files, later ones win. None reads ./config.yaml, or nothing when it is absent.
        overrides: `section.key=value` texts; the value is YAML, e.g. `data.sources=[a.tsv, b.tsv]`.
        preset: Name of a file in configs/presets, laid over the files.

    Raises:
        ConfigError: With every problem found.
    """
    files = config_files(files)
    if preset is not None:
        files = [*files, preset_file(preset)]
    values: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    problems: list[str] = []
    for file in files:
        content = _read_yaml(Path(file), origins)
        # "teacher:" with nothing below it says nothing.
        _merge(values, {name: value for name, value in content.items() if value is not None})
    for override in overrides:
        try:
            path, value = _parse_override(override)
        except ConfigError as error:
            problems.append(str(error))
            continue
        origins[path] = "command line"
        _merge(values, _nest(path, value))
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems.extend(_explain(detail, origins) for detail in error.errors())
        config = None
    if problems or config is None:
        where = ", ".join(str(file) for file in files) or "command line"
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        raise ConfigError(f"{where}: {count}", tuple(problems))
    return config


def config_files(files: Sequence[Path | str] | None = None) -> list[Path]:
    """The files that are read: those that are named, else ./config.yaml if there is one."""
    if files is None:
        files = [DEFAULT_FILE] if Path(DEFAULT_FILE).is_file() else []
    return [Path(file) for file in files]


def preset_names() -> list[str]:
    """The named strategies: files of configs/presets, by name."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def preset_file(name: str) -> Path:
    """The file of a preset.

    Raises:
        ConfigError: If there is none of this name, with the most similar one.
    """
    known = preset_names()
    if name in known:
        return PRESETS / f"{name}.yaml"
    close = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "choose from " + ", ".join(known)
    raise ConfigError(f"there is no preset {name!r}; {remedy}")


def config_to_yaml(config: Section) -> str:
    """The resolved configuration as YAML that `load_config` reads back to the same values."""
    return yaml.safe_dump(
        config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100
    )


def config_fingerprint(section: Section, *, without: Sequence[str] = ()) -> str:
    """SHA-256 of a section's values, for "was this made with the same settings?".

    Args:
        section: Any part of the configuration.
        without: Top-level keys that may change freely.
    """
    content = section.model_dump_json(exclude=set(without))
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every key as a dotted path, sections included."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        yield path
        section = _section_of(field.annotation)
        if section is not None:
            yield from known_keys(section, f"{path}.")


def _section_of(annotation: object) -> type[BaseModel] | None:
    """The nested section in a field's type (`X` or `X | None`), if there is one."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _read_yaml(path: Path, origins: dict[KeyPath, str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"configuration file {path} does not exist") from error
    except OSError as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"configuration file {path} is not UTF-8 at byte {error.start}; save it as UTF-8"
        ) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{path}{line} is not valid YAML: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} must hold sections such as data: and teacher:, not a list or text"
        )
    _note_lines(node, path, (), origins)
    return content


def _note_lines(
    node: yaml.Node | None, path: Path, prefix: KeyPath, origins: dict[KeyPath, str]
) -> None:
    """Remembers the line of every key, and refuses a key that stands twice."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value)
        if name in seen:
            raise ConfigError(
                f"{path} line {line}: {'.'.join((*prefix, name))} stands twice, "
                f"first on line {seen[name]}; keep one"
            )
        seen[name] = line
        key_path = (*prefix, name)
        origins[key_path] = f"{path} line {line}"
        _note_lines(value, path, key_path, origins)


def _merge(target: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Lays `extra` over `target`: sections are merged key by key, everything else replaced."""
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, Mapping) else value


def _parse_override(text: str) -> tuple[KeyPath, Any]:
    name, separator, value = text.partition("=")
    path = tuple(name.strip().split("."))
    is_top_level = len(path) == 1
    if not separator or is_top_level or not all(path):
        raise ConfigError(f"'{text}' is not an override; write section.key=value")
    try:
        return path, yaml.safe_load(value)
    except yaml.YAMLError as error:
        example = f'\'{name}=["…", "…"]\'' if value.startswith("[") else f"{name}='\"…\"'"
        raise ConfigError(
            f"{name}: the value {value!r} is not valid YAML; quote it, e.g. {example}"
        ) from error


def _nest(path: KeyPath, value: object) -> dict[str, Any]:
    *sections, leaf = path
    nested: dict[str, Any] = {leaf: value}
    for name in reversed(sections):
        nested = {name: nested}
    return nested


def _explain(detail: ErrorDetails, origins: Mapping[KeyPath, str]) -> str:
    """One problem as one line: key, what is wrong with which value, where it was written."""
    path = tuple(str(part) for part in detail["loc"])
    key = ".".join(path) or "configuration"
    origin = next(
        (origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in origins), None
    )
    where = f" ({origin})" if origin else ""
    if detail["type"] == "extra_forbidden":
        hint = _nearest(key)
        remedy = f"did you mean {hint}?" if hint else "`run.py config --explain` lists all keys"
        return f"{key}: unknown key; {remedy}{where}"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{key}: {message}{where}"
    # "Input should be a valid number, unable to parse string as a number": the first half says all.
    message = message.partition(", unable to ")[0].replace("a valid boolean", "true or false")
    message = message[0].lower() + message[1:]
    return f"{key}: {message}, got {detail['input']!r}{where}"


def _nearest(key: str) -> str | None:
    """The known key that was most likely meant.

    The same last part in another section comes first (a key in the wrong section is the most
    common slip), then the most similar name in the same section, then anywhere.
    """
    keys = list(known_keys())
    section, _, leaf = key.rpartition(".")
    for name in keys:
        if name.rpartition(".")[2] == leaf:
            return name
    siblings = {
        name.rpartition(".")[2]: name for name in keys if name.rpartition(".")[0] == section
    }
    close = difflib.get_close_matches(leaf, siblings, n=1, cutoff=0.6)
    if close:
        return siblings[close[0]]
    leaves = {name.rpartition(".")[2]: name for name in reversed(keys)}
    close = difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)
    return leaves[close[0]] if close else None
