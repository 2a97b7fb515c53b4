"""The notebook for hosted machines: its cells, run in order by one process, and a disconnect.

The machine is lost in the middle of training: everything that runs is killed, and the local disk
is empty afterwards. Running all cells again must lead to a finished model.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from src.corpus.demo import write_demo_corpus

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "train.ipynb"
RUNNER = """
import json, sys
cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
namespace = {"__name__": "__main__"}
for number, cell in enumerate(cells):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), namespace)
"""
SIZES = (
    "{hidden_size: 16, num_hidden_layers: 1, intermediate_size: 24, num_attention_heads: 2, "
    "num_key_value_heads: 1}"
)
TRAINING = {
    "architecture": SIZES,
    "batch_size": 8,
    "max_seq_length": 96,
    "learning_rate": 0.001,
    "eval_samples": 8,
    "logging_steps": 4,
}
SMALL = [
    "data.train_tokenizer_vocab_size=300",
    "data.quality_threshold=0",
    "data.num_workers=1",
    "data.splits={dev: 20, test: 20}",
    "student.kd_mode=cached",
    "student.kd_top_k=16",
    "student.kd_method=uniform_tail",
    "student.temperature=1",
    "student.kd_min_cosine=0",
    "student.max_steps=4",
    "teacher.max_steps=80",
    "teacher.save_steps=8",
    "evaluation.max_samples=4",
    "evaluation.max_new_tokens=4",
    *(
        f"{name}.{key}={value}"
        for name in ("teacher", "student")
        for key, value in TRAINING.items()
    ),
]


def cells(kind):
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def test_the_notebook_is_plain_and_without_outputs():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert set(content["metadata"]) == {"accelerator", "kernelspec", "language_info"}
    identifiers = [cell["id"] for cell in content["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in cells("code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        compile("".join(cell["source"]), cell["id"], "exec")
    assert next(cell["metadata"]["tags"] for cell in cells("code")) == ["parameters"]


def test_its_commands_are_those_of_the_program():
    from src.commands import COMMANDS

    text = "".join("".join(cell["source"]) for cell in cells("code"))
    used = set(re.findall(r'step\("([\w-]+)"', text))
    used |= set(re.findall(r'program / "run\.py", "([\w-]+)"', text))
    assert used >= {"process", "teacher", "soft-labels", "student", "evaluate", "export"}
    assert used <= set(COMMANDS)


@pytest.fixture
def start(tmp_path):
    """Starts all cells in a process of its own; its output goes to `log`."""
    durable = tmp_path / "drive" / "linguabridge"
    write_demo_corpus(durable / "corpus", pairs=500)
    parameters = {
        "SOURCES": ["corpus/{en,zh}.txt"],
        "PRESET": None,
        "OVERRIDES": SMALL,
        "PROGRAM": str(ROOT),
        "FOLDER": str(durable),
        "LOCAL": str(tmp_path / "local"),
        "PYTHON": sys.executable,
    }
    environment = {
        **os.environ,
        "LINGUABRIDGE_NOTEBOOK": json.dumps(parameters),
        "OMP_NUM_THREADS": "1",
    }

    def run(log):
        with log.open("w", encoding="utf-8") as file:
            return subprocess.Popen(
                [sys.executable, "-c", RUNNER, str(NOTEBOOK)],
                cwd=tmp_path,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    return run


def lose_machine(process):
    """Kills the notebook and all that it has started, in whatever session."""
    family = [process.pid, *(p.pid for p in psutil.Process(process.pid).children(recursive=True))]
    for number in family:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(number).kill()
    process.wait()


@pytest.mark.slow
def test_after_a_disconnect_all_cells_again_lead_to_the_model(start, tmp_path):
    durable = tmp_path / "drive" / "linguabridge"
    first = start(tmp_path / "first.log")
    stored = durable / "stores" / "teacher"
    while first.poll() is None and not list(stored.glob("checkpoint-*/MANIFEST.json")):
        time.sleep(0.05)
    assert first.poll() is None, (tmp_path / "first.log").read_text(encoding="utf-8")
    lose_machine(first)
    shutil.rmtree(tmp_path / "local")

    second = start(tmp_path / "second.log")
    code = second.wait(timeout=280)
    said = (tmp_path / "second.log").read_text(encoding="utf-8")
    assert code == 0, said
    assert re.search(r"resuming at step (\d+) from", said), said
    assert "step 80/80" in said
    assert (durable / "exported" / "model.safetensors").is_file()
    assert (durable / "soft_labels").is_dir()
    assert (tmp_path / "local" / "data" / "process.json").read_bytes() == (
        durable / "processed.json"
    ).read_bytes()
    assert not list(durable.glob("*.partial"))
