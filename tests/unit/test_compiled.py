"""Machine code is kept for the sources it was made from, and for no others."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from src.compiled import compiled, read_only

SOURCES = Path(__file__).resolve().parents[2] / "src"
CODE = """
import numpy as np
from src.compiled import fingerprint, machine_code_folder
from src.corpus.mixing import mix_one

def is_made():
    return any(machine_code_folder().rglob("*.nbi"))

was_made = is_made()
mix_one(np.uint64(7))
print(fingerprint(), was_made, is_made())
"""
MIX_ONE = """
from src.compiled import compiled
from src.corpus.constants import ONE

@compiled
def mix_one(value):
    return mix(value)
"""


@pytest.fixture
def project(tmp_path):
    """A copy of what the machine code of one function depends on, without any machine code."""
    for name in ("__init__.py", "compiled.py", "errors.py", "corpus/__init__.py"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCES / name, tmp_path / "src" / name)
    (tmp_path / "src/corpus/mixing.py").write_text(
        (SOURCES / "corpus/mixing.py").read_text() + MIX_ONE
    )
    (tmp_path / "src/corpus/constants.py").write_text("ONE = 1\n")
    return tmp_path


def run(project: Path, *, is_first: bool = True) -> str:
    """Compiles, for the first time or not; returns the fingerprint."""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    finished = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    fingerprint, was_made, is_made = finished.stdout.split()
    assert (was_made, is_made) == (str(not is_first), "True")
    return fingerprint


def folders(project: Path) -> set[str]:
    return {path.name for path in (project / "src/__pycache__").glob("compiled-*")}


def test_machine_code_lies_in_a_folder_named_by_its_sources(project):
    name = run(project)
    assert folders(project) == {f"compiled-{name}"}
    assert list((project / f"src/__pycache__/compiled-{name}").rglob("*.nbi"))
    assert run(project, is_first=False) == name


def test_a_changed_constant_of_another_file_makes_another_folder(project):
    before = run(project)
    (project / "src/corpus/constants.py").write_text("ONE = 2\n")
    after = run(project)
    assert after != before
    assert folders(project) == {f"compiled-{before}", f"compiled-{after}"}


def test_a_file_that_no_compiled_function_reaches_does_not_count(project):
    before = run(project)
    (project / "src/errors.py").write_text("# other errors\n")
    assert run(project, is_first=False) == before


def test_a_folder_of_old_sources_goes_after_a_day(project):
    old = project / "src/__pycache__/compiled-0123456789abcdef"
    young = project / "src/__pycache__/compiled-fedcba9876543210"
    for folder in (old, young):
        folder.mkdir(parents=True)
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    name = run(project)
    assert folders(project) == {f"compiled-{name}", young.name}


@compiled
def _total(values):
    total = 0.0
    for value in values:
        total += value
    return total


def test_read_only_arrays_of_all_kinds_are_one_kind():
    array = np.arange(6.0)
    frozen = np.arange(6.0)
    frozen.flags.writeable = False
    for each in (array, frozen, np.arange(12.0)[::2] / 2):
        view = read_only(each)
        assert not view.flags.writeable
        assert view.flags.c_contiguous
        assert _total(view) == 15.0
    assert array.flags.writeable
    assert len(getattr(_total, "signatures", [0])) == 1
