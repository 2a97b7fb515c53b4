"""What each configuration key means, rendered from `src.schema` and from nothing else.

The sentences under the schema's fields are the only source: `run.py config --explain`,
docs/configuration.md and the commented config.yaml are views of them. `make docs` writes the two
files, `make check` fails when they differ from what the schema would give.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from src.errors import EXIT_DONE, EXIT_FAILED, ConfigError
from src.files import write_text
from src.schema_tree import Group, Key, read_schema, walk

REPOSITORY = Path(__file__).resolve().parents[1]
YAML_FILE = "config.yaml"
MARKDOWN_FILE = "docs/configuration.md"
LINE_WIDTH = 100
_NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"

_YAML_HEADER = """\
# Every key with its default and meaning. Written by `make docs` from src/schema/; to change
# values, leave this file as it is and keep a small one of your own with the keys you change.
#
# First, in my.yaml:
#
#     data:
#       sources: [corpus/train.tsv.gz]      # or corpus/train.{en,zh} for two files
#
# Then:
#
#     python run.py doctor  --config my.yaml      checks this machine and the file
#     python run.py process --config my.yaml
#     python run.py teacher --config my.yaml
#     python run.py student --config my.yaml
#
# A single value can be given on the command line, which wins over files:
#
#     python run.py teacher --config my.yaml teacher.batch_size=8
"""

_MARKDOWN_HEADER = """\
# Configuration

<!-- Written by `make docs` from src/schema/; edit the sentences there. -->

A value comes from the last of these that names its key: the default below, the files given with
`--config` in their order (without any, `./config.yaml` if there is one), and `section.key=value` on
the command line. Unknown keys are refused, with the nearest known one. Values on the command line
are YAML: `data.language_pairs=[en-zh]`, `student.max_steps=null`.

`python run.py config` prints the resolved configuration, `python run.py config --explain KEY` tells
about one key. `config.yaml` holds everything on this page as YAML with comments.
"""


def explain(name: str) -> str:
    """What a key or section means, for the terminal.

    Args:
        name: A dotted path, the last part of one (all keys of that name), or empty for all keys.

    Raises:
        ConfigError: If nothing has that name; it says what was probably meant.
    """
    root = read_schema()
    if not name:
        return "\n\n".join(_explain_node(node) for node in root.entries)
    nodes = {node.path: node for node in walk(root) if node.path}
    found = [nodes[name]] if name in nodes else []
    found = found or [node for path, node in nodes.items() if path.rpartition(".")[2] == name]
    if not found:
        leaf = name.rpartition(".")[2]
        leaves = {path.rpartition(".")[2]: path for path in reversed(nodes)}
        near = difflib.get_close_matches(name, nodes, n=1, cutoff=0.75) or [
            leaves[match] for match in difflib.get_close_matches(leaf, leaves, n=1)
        ]
        remedy = f"did you mean {near[0]}?" if near else "`run.py config --explain` lists all keys"
        raise ConfigError(f"{name}: unknown key; {remedy}")
    return "\n\n".join(_explain_node(node) for node in found)


def render_yaml() -> str:
    """config.yaml: every key with its default value, its meaning as comment."""
    lines = [_YAML_HEADER]
    for group in read_schema().entries:
        lines.extend(_yaml_lines(group, indent=0))
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def render_markdown() -> str:
    """docs/configuration.md: one table per section."""
    root = read_schema()
    blocks = [_MARKDOWN_HEADER]
    earlier: list[Group] = []
    for group in root.entries:
        if isinstance(group, Group):
            blocks.append(_markdown_group(group, earlier))
            earlier.append(group)
    return "\n".join(blocks)


def _comment(text: str, indent: int) -> list[str]:
    prefix = " " * indent + "# "
    lines = textwrap.wrap(
        text.strip(),
        width=LINE_WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK_SPACE, " ") for line in lines]


def _yaml_hint(key: Key) -> str:
    """The values a key takes in brackets, where the default does not show them already."""
    is_evident = key.default != "null" and re.fullmatch(
        r"true or false|text|only \w+|(whole )?number( [<>]=? \S+)*(, or null)?", key.kind
    )
    if is_evident:
        return ""
    hint = f"[{key.kind}]"
    # Short brackets are not broken over two lines: textwrap leaves no-break spaces alone.
    return hint.replace(" ", _NO_BREAK_SPACE) if len(hint) < LINE_WIDTH // 2 else hint


def _yaml_lines(node: Key | Group, indent: int) -> list[str]:
    name = node.path.rpartition(".")[2]
    key = node.key if isinstance(node, Group) else node
    if key is not None:
        lines = _comment(f"{key.meaning} {_yaml_hint(key)}", indent)
        return [*lines, *_yaml_value(f"{' ' * indent}{name}:", str(key.default), indent)]
    lines = [*_comment(node.meaning, indent), f"{' ' * indent}{name}:"]
    for entry in node.entries if isinstance(node, Group) else ():
        lines.extend(_yaml_lines(entry, indent + 2))
    return lines


def _yaml_value(name: str, value: str, indent: int) -> list[str]:
    """`name: value`; a list that is too long for the line goes on below."""
    line = f"{name} {value}"
    if len(line) <= LINE_WIDTH:
        return [line]
    prefix = " " * (indent + 2)
    wrapped = textwrap.wrap(
        value,
        width=LINE_WIDTH,
        initial_indent=prefix,
        subsequent_indent=f"{prefix} ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [name, *wrapped]


def _markdown_group(group: Group, earlier: Sequence[Group], level: int = 2) -> str:
    known = _keys_of(earlier)
    own = [entry for entry in group.entries if isinstance(entry, Key)]
    shared = [entry.path for entry in own if _unprefixed(entry) in known]
    # Only a section that is nearly another's copy says so; a chance likeness is spelt out.
    is_copy = len(shared) > len(own) // 2
    rows = [
        f"| `{key.path}` | {key.kind} | {_markdown_default(key)} | {_cell(key.meaning)} |"
        for key in own
        if not (is_copy and key.path in shared)
    ]
    blocks = [f"{'#' * level} {group.path}", group.key.meaning if group.key else "", group.meaning]
    if is_copy:
        blocks.append(f"The keys of `{earlier[-1].path}` with the same defaults, and:")
    blocks.append("\n".join(["| key | values | default | meaning |", "|---|---|---|---|", *rows]))
    blocks.extend(
        _markdown_group(entry, (), level + 1).rstrip("\n")
        for entry in group.entries
        if isinstance(entry, Group) and not (is_copy and _is_repeated(entry, earlier))
    )
    return "\n\n".join(block for block in blocks if block) + "\n"


def _unprefixed(key: Key) -> tuple[str, str, str | None, str]:
    return key.path.rpartition(".")[2], key.kind, key.default, key.meaning


def _keys_of(groups: Sequence[Group]) -> set[tuple[str, str, str | None, str]]:
    return {_unprefixed(key) for group in groups for key in group.entries if isinstance(key, Key)}


def _is_repeated(group: Group, earlier: Sequence[Group]) -> bool:
    name = group.path.rpartition(".")[2]
    return any(
        entry.path.rpartition(".")[2] == name for other in earlier for entry in other.entries
    )


def _markdown_default(key: Key) -> str:
    return "must be given" if key.default is None else f"`{key.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _explain_node(node: Key | Group) -> str:
    if isinstance(node, Key):
        default = "must be given" if node.default is None else f"default {node.default}"
        return f"{node.path}\n  {node.kind}; {default}\n{_indented(node.meaning)}"
    meaning = " ".join(filter(None, (node.key.meaning if node.key else "", node.meaning)))
    entries = (_explain_node(entry) for entry in node.entries)
    return "\n".join([f"{node.path}\n{_indented(meaning)}", *entries])


def _indented(text: str) -> str:
    return textwrap.fill(text, LINE_WIDTH, initial_indent="  ", subsequent_indent="  ")


_RENDERED: Mapping[str, Callable[[], str]] = {
    YAML_FILE: render_yaml,
    MARKDOWN_FILE: render_markdown,
}


def stale_files(folder: Path = REPOSITORY) -> list[str]:
    """Which generated files are absent or differ from what the schema gives now."""
    return [
        name
        for name, render in _RENDERED.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != render()
    ]


def main(arguments: Sequence[str], folder: Path = REPOSITORY) -> int:
    """Writes the generated files, or says which are out of date."""
    parser = argparse.ArgumentParser(prog="python -m src.config_reference", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="fail when a file is out of date")
    mode.add_argument("--write", action="store_true", help="write the files")
    stale = stale_files(folder)
    if parser.parse_args(arguments).check:
        if stale:
            print(f"out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return EXIT_FAILED if stale else EXIT_DONE
    for name in stale:
        write_text(folder / name, _RENDERED[name]())
        print(f"wrote {name}")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
