"""pyproject.toml and the three requirement files say the same."""

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MACHINES = [
    {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": system}
    | {"platform_machine": machine, "platform_system": {"linux": "Linux"}.get(system, "Darwin")}
    for python in ("3.10", "3.11", "3.12")
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]


def pins(file_name: str, machine: dict[str, str]) -> dict[str, str]:
    """Pinned version by package for one machine; fails on a line that pins nothing or twice."""
    found: dict[str, str] = {}
    for line in (ROOT / file_name).read_text(encoding="utf-8").splitlines():
        if not re.match(r"[A-Za-z0-9]", line):
            continue
        requirement = Requirement(line.rstrip(" \\"))
        if requirement.marker is not None and not requirement.marker.evaluate(machine):
            continue
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert requirement.name not in found
        found[canonicalize_name(requirement.name)] = specifier.version
    return found


def assert_satisfied(ranges: list[str], pinned: dict[str, str], machine: dict[str, str]) -> None:
    for text in ranges:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(machine):
            version = pinned[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), text


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join(machine.values()))
def test_requirements_satisfy_the_ranges_of_pyproject(machine):
    pinned = pins("requirements.txt", machine)
    assert_satisfied(PROJECT["project"]["dependencies"], pinned, machine)
    assert_satisfied(PROJECT["project"]["optional-dependencies"]["cpu"], pinned, machine)
    development = pins("requirements-dev.txt", machine)
    assert_satisfied(PROJECT["dependency-groups"]["dev"], development, machine)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: "-".join(machine.values()))
def test_development_requirements_agree_with_the_runtime(machine):
    pinned = pins("requirements.txt", machine)
    for name, version in pins("requirements-dev.txt", machine).items():
        assert pinned.get(name, version) == version, name


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_gpu_requirements_differ_only_in_the_build_of_paddle(python):
    machine = next(m for m in MACHINES if m["python_version"] == python)
    pinned = pins("requirements.txt", machine)
    gpu = pins("requirements-gpu.txt", machine)
    assert gpu.pop("paddlepaddle-gpu") == pinned.pop("paddlepaddle")
    assert gpu == pinned


@pytest.mark.parametrize("file_name", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_has_a_hash_and_no_line_names_an_index(file_name):
    text = (ROOT / file_name).read_text(encoding="utf-8")
    entries = re.findall(r"^[A-Za-z0-9].*(?:\n    --hash=\S+(?: \\)?)*", text, flags=re.MULTILINE)
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert not re.search(r"^-", text, flags=re.MULTILINE)
