"""The first run compiles all that the data stage uses, by several processes, before any pair."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.first_run import rooms_of
from src.schema.data import AdequacyConfig, DataConfig

PROJECT = Path(__file__).resolve().parents[2]
CODE = """
import json, logging, os, sys
from pathlib import Path
from src.corpus.demo import write_demo_corpus
from src.data_processor import DataProcessor
from src.first_run import make_machine_code
from src.schema import Config, DataConfig, FiltersConfig, SplitsConfig

folder = Path(sys.argv[1])
corpus = write_demo_corpus(folder / "corpus", pairs=30_000).folder
data = DataConfig(
    sources=[str(corpus / "{en,zh}.txt")],
    language_pairs=["en-zh"],
    output_dir=str(folder / "processed"),
    # Some pairs more than the fast encoder is made for.
    sample_size=20_500,
    filters=FiltersConfig(max_pairs_per_template=None),
    splits=SplitsConfig(dev=50, test=50),
    train_tokenizer_vocab_size=1000,
    num_workers=1,
)

def machine_code():
    return {path.name for path in Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.nbc")}

def markers():
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.made")}

make_machine_code(data, 2)
before, marked = machine_code(), markers()
report = DataProcessor(Config(data=data)).process()
is_kept = markers() == marked
other = Path(os.environ["NUMBA_CACHE_DIR"]) / "tokens.made"
other.write_text("another numba")
make_machine_code(data, 1)
print(
    json.dumps(
        {
            "made": len(before),
            "rooms": sorted(marked),
            "made_later": sorted(machine_code() - before),
            "coverage": report.coverage["selected"],
            "is_kept": is_kept,
            "is_made_anew": other.read_text() != "another numba",
        }
    )
)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_compiles_nothing_that_was_not_compiled_before(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path],
        cwd=PROJECT,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "machine code")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout.splitlines()[-1])
    assert found["made"] > 40
    assert found["made_later"] == []
    assert found["coverage"] > 0
    assert found["rooms"] == sorted(f"{room}.made" for room in rooms_of(DataConfig(sample_size=1)))
    assert found["is_kept"]
    assert found["is_made_anew"]


def test_what_is_switched_off_is_not_made() -> None:
    data = DataConfig(adequacy=AdequacyConfig(min_score=0))
    assert {"adequacy", "sampling"}.isdisjoint(rooms_of(data))
    assert "sampling" in rooms_of(DataConfig(sample_size=1))
