"""The documents: every page is linked, every link leads somewhere, every quoted error exists."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from src.cli import build_parser
from src.cloud import spot_command
from src.config import load_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "docs"
INDEX = DOCUMENTS / "README.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCUMENTS.rglob("*.md"), *(ROOT / "deploy").rglob("*.md")],
    key=str,
)
GUIDES = [
    DOCUMENTS / name
    for name in ("README.md", "docker.md", "faq.md", "notebook.md", "troubleshooting.md")
] + [DOCUMENTS / "walkthrough.md"]

_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def relative(path):
    return str(path.relative_to(ROOT))


def links(page):
    """Targets of the links of a page that lead into the repository, fragments included."""
    text = _CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [each for each in _LINK.findall(text) if not re.match(r"[a-z]+:", each)]


def target_of(page, link):
    path = unquote(link.partition("#")[0])
    return (page.parent / path).resolve() if path else page


def anchors(page):
    """Anchors of the headings, as GitHub makes them."""
    text = _CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# Links


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_no_link_is_broken(page):
    for link in links(page):
        target = target_of(page, link)
        assert target.exists(), f"{relative(page)}: {link}"
        fragment = link.partition("#")[2]
        if fragment and target.suffix == ".md":
            assert fragment in anchors(target), f"{relative(page)}: {link}"


def test_every_page_is_linked_from_the_index():
    linked = {target_of(INDEX, link) for link in links(INDEX)}
    pages = set(DOCUMENTS.rglob("*.md")) - {INDEX}
    assert sorted(relative(page) for page in pages - linked) == []


# Errors


@cache
def templates():
    """Every text of the program, with a NUL character where a value comes in."""
    found = set()
    for path in sorted((ROOT / "src").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "\0" for part in node.values
                ]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub(r"%(\.\d+)?[sdfgr]|\{\w*(![rs])?\}", "\0", node.value))
    return tuple(found)


def quoted_errors():
    text = (DOCUMENTS / "troubleshooting.md").read_text(encoding="utf-8")
    ours = text.split("## Said by Paddle")[0]
    return re.findall(r"^### `(.+)`$", ours, re.MULTILINE)


def test_errors_are_quoted():
    assert len(quoted_errors()) >= 40


@pytest.mark.parametrize("quoted", quoted_errors())
def test_every_quoted_error_is_one_that_the_program_says(quoted):
    """Its fragments, between the values, stand in this order in one text of src/."""
    fragments = [part for part in re.split(r"…", quoted) if part]
    assert max(map(len, fragments)) >= 10, "too short to find anything"
    # A value may hold more than one: {', '.join(names)} and what follows it.
    pattern = re.compile(".*".join(map(re.escape, fragments)), re.DOTALL)
    assert any(pattern.search(text) for text in templates())


# Commands


def commands(page):
    """Lines of a page that start the program."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"\\\n\s*", " ", text)
    found = re.findall(r"^\s*(?:\$ )?python run\.py (.+)$", text, re.MULTILINE)
    found += re.findall(r"`python run\.py ([^`]+)`", text)
    return [line.split("   #")[0].split(" | ")[0].strip() for line in found]


@pytest.mark.parametrize("page", GUIDES, ids=relative)
def test_every_command_line_is_accepted(page):
    parser = build_parser()
    for line in commands(page):
        words = [word for word in shlex.split(line) if word not in ("…", "&")]
        try:
            parser.parse_args(words)
        except SystemExit as end:
            assert end.code == 0, f"{relative(page)}: run.py {line}"  # noqa: PT017


def test_every_cloud_command_of_the_walk_is_accepted():
    text = (DOCUMENTS / "walkthrough.md").read_text(encoding="utf-8")
    shared = dict(re.findall(r'^([TS])="(.+)"$', text, re.MULTILINE))
    lines = re.findall(r"^python deploy/aliyun/spot\.py (.+)$", text, re.MULTILINE)
    assert {line.split()[0] for line in lines} >= {"prices", "run", "status", "logs", "down"}
    parser = build_parser()
    for line in lines:
        options, _, command = re.sub(r"\$([TS])", lambda name: shared[name[1]], line).partition(
            " -- "
        )
        spot_command.build_parser().parse_args(shlex.split(options))
        if command:
            parser.parse_args(shlex.split(command))


def test_the_configurations_of_the_walk_are_accepted(tmp_path):
    text = (DOCUMENTS / "walkthrough.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    files = [ROOT / "configs" / "presets" / "hybrid_10m.yaml"]
    for number, block in enumerate(block for block in blocks if not block.startswith(" ")):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(block, encoding="utf-8")
    assert len(files) == 3
    config = load_config(files, [])
    assert (config.student.kd_mode, config.cloud.run_name) == ("online", "hybrid-teacher")
    assert config.data.sample_size == 10_000_000
