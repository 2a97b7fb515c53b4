"""COMET: asked in a process of its own, with a stand-in for the package that needs PyTorch."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from src.errors import ConfigError
from src.evaluation.comet import comet_score
from src.schema import EvaluationConfig

PACKAGE = """
def load_from_checkpoint(path):
    assert path.endswith("model.ckpt")
    return Model()

class Model:
    def predict(self, rows, batch_size, gpus, progress_bar):
        assert set(rows[0]) == {"src", "mt", "ref"}
        assert gpus == 0
        return {"system_score": sum(row["mt"] == row["ref"] for row in rows) / len(rows)}
"""
PROCESSOR = """
class cuda:
    is_available = staticmethod(lambda: False)
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "wmt22" / "checkpoints" / "model.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def python_with(tmp_path, package: str | None) -> str:
    """An interpreter that finds `comet`, or surely does not."""
    folder = tmp_path / "packages"
    folder.mkdir()
    if package is not None:
        (folder / "comet.py").write_text(package, encoding="utf-8")
        (folder / "torch.py").write_text(PROCESSOR, encoding="utf-8")
    script = tmp_path / "python"
    # Without site-packages: an installed comet must not be found instead.
    script.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} -S "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


def ask(**settings):
    return comet_score(EvaluationConfig(**settings), ["a", "b"], ["x", "y"], ["x", "z"])


def test_without_a_model_it_says_what_to_set():
    assert ask() == (
        None,
        "COMET is left out: set evaluation.comet_model to the model.ckpt of a COMET model on this "
        "machine",
    )


def test_model_is_found_in_the_folder_that_comet_downloads(model, tmp_path):
    python = python_with(tmp_path, PACKAGE)
    for place in (model, model.parent, model.parents[1]):
        assert ask(comet_model=str(place), comet_python=python) == (0.5, "")


def test_missing_package_and_failing_model_are_one_sentence(model, tmp_path):
    score, reason = ask(comet_model=str(model), comet_python=python_with(tmp_path, None))
    assert score is None
    assert "pip install torch unbabel-comet 'setuptools<81'" in reason
    (tmp_path / "packages" / "comet.py").write_text("raise RuntimeError('broken')")
    score, reason = ask(comet_model=str(model), comet_python=str(tmp_path / "python"))
    assert (score, reason) == (None, "COMET is left out, it failed: RuntimeError: broken")
    (tmp_path / "packages" / "comet.py").write_text("import os\nos._exit(7)")
    score, reason = ask(comet_model=str(model), comet_python=str(tmp_path / "python"))
    assert (score, reason) == (None, "COMET is left out, it failed: exit code 7")
    (tmp_path / "packages" / "comet.py").write_text("import pkg_resources_of_old")
    score, reason = ask(comet_model=str(model), comet_python=str(tmp_path / "python"))
    assert reason.endswith("ModuleNotFoundError: No module named 'pkg_resources_of_old'")


def test_named_model_or_python_that_is_not_there_is_refused(model, tmp_path):
    with pytest.raises(ConfigError, match=r"evaluation.comet_model=.*nothing has no model.ckpt"):
        ask(comet_model=str(tmp_path / "nothing"))
    missing = os.fspath(tmp_path / "no-python")
    with pytest.raises(ConfigError, match=r"evaluation.comet_python=.*cannot be started: No such"):
        ask(comet_model=str(model), comet_python=missing)
