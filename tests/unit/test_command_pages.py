"""The page of each command names every option it has, and none that it has not."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from src.cli import build_parser
from src.commands import COMMANDS

PAGES = Path(__file__).resolve().parents[2] / "docs" / "commands"
# Every command has these, docs/commands/config.md tells of them.
EVERYWHERE = {"--help", "--config", "--preset", "--set", "--verbose"}
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def options_of(name):
    """Long options of a command."""
    parser = build_parser()
    (commands,) = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    actions = commands.choices[name]._actions
    return {text for action in actions for text in action.option_strings if text[:2] == "--"}


def table_options(page):
    """Options in the first column of a page's tables."""
    rows = [line for line in page.splitlines() if line.startswith("|")]
    return {option for row in rows for option in _OPTION.findall(row.split("|")[1])}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_page_and_options_agree(name):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    options = options_of(name)
    told = set(_OPTION.findall(page))
    supervising = (PAGES / "supervise.md").read_text(encoding="utf-8")
    assert options - EVERYWHERE - told - set(_OPTION.findall(supervising)) == set()
    assert table_options(page) - options == set()


def test_every_page_is_of_a_command_or_of_something_that_the_index_names():
    index = (PAGES.parent / "README.md").read_text(encoding="utf-8")
    for page in PAGES.glob("*.md"):
        assert page.stem in COMMANDS or f"commands/{page.name}" in index
