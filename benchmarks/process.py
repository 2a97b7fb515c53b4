"""How fast does `run.py process` filter a large corpus, in how much memory, beside OpusFilter?

    LINGUABRIDGE_SHARED_DATA=FOLDER python -m benchmarks.process \
        [--pairs 2000000 10000000] [--workers 1 2] [--repeats 1] [section.key=value ...]

The corpus is made from `corpus/train_raw.tsv.gz` of that folder, real English-Chinese pairs with
their mess, by varying copies of it (see benchmarks/varied_corpus.py). Each program runs as a real
process on the same pairs; they take turns in one run. OpusFilter (PyPI, installed apart by
benchmarks/opusfilter/install.sh) filters and removes duplicates with the settings of
benchmarks/opusfilter/config.yaml. Nine tenths of its time go into its search for repetitions, so it
runs without that, too, and with it on no more than `--repetition-up-to` pairs; on more than
`--opusfilter-up-to` it does not run at all.

`run.py process` does more: it repairs text, scores adequacy, holds out, accounts for every row and
makes the token cache. Its time is given as a whole and without the tokens, which have no
counterpart in OpusFilter. What is compiled at the first call is compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import store_result, summarise
from benchmarks.process_tree import Usage, run
from benchmarks.varied_corpus import Pair, read_pairs, write_corpus

PROJECT = Path(__file__).resolve().parents[1]
OPUSFILTER_CONFIG = PROJECT / "benchmarks" / "opusfilter" / "config.yaml"
WARM_UP_PAIRS = 2_000
TOKENS = "token"  # the phases that have to do with tokens begin so

Samples = dict[str, list[float]]


def run_process(
    tables: Sequence[Path], workers: int, folder: Path, shared: Path, overrides: Sequence[str]
) -> dict[str, float]:
    """One run of `run.py process` into an empty folder."""
    output = folder / "processed"
    shutil.rmtree(output, ignore_errors=True)
    config = {
        "data": {
            "sources": [str(path) for path in tables],
            "language_pairs": ["en-zh", "zh-en"],
            "output_dir": str(output),
            "num_workers": workers,
            "tokenizer": str(shared / "qwen_tokenizer"),
        }
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command: list[str | Path] = [
        sys.executable,
        "run.py",
        "process",
        "--config",
        folder / "config.yaml",
        *overrides,
    ]
    usage = run(command, folder=PROJECT, log=folder / f"process-{workers}.log")
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    tokens = sum(p["seconds"] for p in report["phases"] if p["name"].startswith(TOKENS))
    measured = _measured(usage, report["rows_in"], report["kept"])
    measured |= {
        "pairs_per_second_without_tokens": report["rows_in"] / (usage.wall_seconds - tokens),
        "reported_peak_rss_bytes": report["peak_rss_bytes"],
    }
    for phase in report["phases"]:
        measured[f"{phase['name'].replace(' ', '_')}_seconds"] = phase["seconds"]
    return measured


def run_opusfilter(
    program: Path, corpus: Path, workers: int, folder: Path, *, repetition: bool
) -> dict[str, float]:
    """One run of OpusFilter into an empty folder, with its filter of repetitions or without."""
    output = folder / "opusfilter"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    for name in ("all.left", "all.right"):
        (output / name).symlink_to(corpus / name)
    config = yaml.safe_load(OPUSFILTER_CONFIG.read_text(encoding="utf-8"))
    parameters = config["steps"][0]["parameters"]
    if not repetition:
        parameters["filters"] = [f for f in parameters["filters"] if "RepetitionFilter" not in f]
    (output / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command: list[str | Path] = [program, "--n-jobs", str(workers), output / "config.yaml"]
    usage = run(command, folder=output, log=folder / f"opusfilter-{workers}.log")
    return _measured(usage, _lines(corpus / "all.left"), _lines(output / "unique.left"))


def _measured(usage: Usage, rows: int, kept: int) -> dict[str, float]:
    return {
        "wall_seconds": usage.wall_seconds,
        "cpu_seconds": usage.cpu_seconds,
        "peak_pss_bytes": usage.peak_pss_bytes,
        "pairs_per_second": rows / usage.wall_seconds,
        "pairs_per_cpu_second": rows / usage.cpu_seconds,
        "kept_share": kept / rows,
    }


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def measure(
    pairs: list[Pair], count: int, options: argparse.Namespace, shared: Path
) -> dict[str, Any]:
    """Runs both programs on one size of corpus, in turns."""
    folder = options.folder.resolve() / f"{count}"
    corpus = folder / "corpus"
    tables = write_corpus(pairs, count, corpus)
    samples: dict[str, Samples] = defaultdict(lambda: defaultdict(list))
    for _ in range(options.repeats):
        for workers in options.workers:
            name = f"{workers}_workers" if workers > 1 else "1_worker"
            results = {
                f"process_{name}": run_process(tables, workers, folder, shared, options.overrides)
            }
            for label, repetition in _opusfilter_variants(options, count):
                results[f"{label}_{name}"] = run_opusfilter(
                    options.opusfilter, corpus, workers, folder, repetition=repetition
                )
            for program, measured in results.items():
                print(f"{count:,} {program}: {_in_short(measured)}", flush=True)
                for key, value in measured.items():
                    samples[program][key].append(value)
    return {
        program: {key: summarise(values) for key, values in measured.items()}
        for program, measured in samples.items()
    }


def _opusfilter_variants(options: argparse.Namespace, count: int) -> list[tuple[str, bool]]:
    if options.opusfilter is None or count > options.opusfilter_up_to:
        return []
    variants = [("opusfilter_without_repetition", False)]
    if count <= options.repetition_up_to:
        variants.append(("opusfilter", True))
    return variants


def _in_short(measured: Mapping[str, float]) -> str:
    return (
        f"{measured['wall_seconds']:.1f} s, {measured['cpu_seconds']:.1f} s of processor, "
        f"{measured['pairs_per_second']:,.0f} pairs/s, "
        f"{measured['peak_pss_bytes'] / 2**20:,.0f} MiB, kept {measured['kept_share']:.1%}"
    )


def compare(results: dict[str, dict[str, Any]], counts: Sequence[int]) -> dict[str, float]:
    """Ratios of medians: the programs at each size, two workers to one, the memory of two sizes."""
    ratios: dict[str, float] = {}

    def median(count: int, program: str, key: str) -> float:
        return float(results[f"{count}_pairs"][program][key]["median"])

    for count in counts:
        programs = results[f"{count}_pairs"]
        if {"process_1_worker", "process_2_workers"} <= set(programs):
            ratios[f"{count}_pairs_process_2_workers_over_1_speed"] = median(
                count, "process_2_workers", "pairs_per_second"
            ) / median(count, "process_1_worker", "pairs_per_second")
    ours = [program for program in results[f"{counts[0]}_pairs"] if program.startswith("process")]
    for program in ours:
        for count in counts:
            for label in ("opusfilter", "opusfilter_without_repetition"):
                other = program.replace("process", label)
                if other in results[f"{count}_pairs"]:
                    ratios[f"{count}_pairs_{program}_without_tokens_over_{label}_speed"] = median(
                        count, program, "pairs_per_second_without_tokens"
                    ) / median(count, other, "pairs_per_second")
        if len(counts) > 1:
            ratios[f"{program}_peak_pss_{counts[-1]}_over_{counts[0]}_pairs"] = median(
                counts[-1], program, "peak_pss_bytes"
            ) / median(counts[0], program, "peak_pss_bytes")
    return {name: round(ratio, 4) for name, ratio in ratios.items()}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, nargs="+", default=[2_000_000, 10_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/process"))
    parser.add_argument(
        "--opusfilter",
        type=Path,
        default=Path("runs/benchmarks/opusfilter/bin/opusfilter"),
        help="its program, as benchmarks/opusfilter/install.sh installs it",
    )
    parser.add_argument(
        "--opusfilter-up-to", type=int, default=2_000_000, help="more pairs run without it"
    )
    parser.add_argument("--repetition-up-to", type=int, default=2_000_000, metavar="PAIRS")
    parser.add_argument("--without-opusfilter", action="store_true")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="for run.py")
    options = parser.parse_args()
    if options.without_opusfilter:
        options.opusfilter = None
    elif not options.opusfilter.is_file():
        raise SystemExit(
            f"{options.opusfilter} is not there: run benchmarks/opusfilter/install.sh, or leave "
            "the comparison out by --without-opusfilter"
        )
    else:
        options.opusfilter = options.opusfilter.absolute()
    return options


def main() -> None:
    options = parse_options()
    if not (given := os.environ.get("LINGUABRIDGE_SHARED_DATA")):
        raise SystemExit("set LINGUABRIDGE_SHARED_DATA to the folder that holds corpus/")
    shared = Path(given).resolve()
    pairs = read_pairs(shared / "corpus")
    warm_up = options.folder.resolve() / "warm-up"
    tables = write_corpus(pairs, WARM_UP_PAIRS, warm_up / "corpus")
    run_process(
        tables, max(options.workers), warm_up, shared, ["data.splits.dev=50", "data.splits.test=50"]
    )
    results: dict[str, Any] = {
        f"{count}_pairs": measure(pairs, count, options, shared) for count in options.pairs
    }
    path = store_result(
        "process",
        question="How fast, and in how much memory, is a large corpus filtered?",
        baseline="OpusFilter on the same pairs in the same run"
        if options.opusfilter
        else "none: OpusFilter was left out",
        settings={
            "pairs": options.pairs,
            "workers": options.workers,
            "repeats": options.repeats,
            "overrides": options.overrides,
            "opusfilter": _version_of(options.opusfilter),
        },
        results={**results, "ratios": compare(results, options.pairs)},
        packages=["numpy", "pyarrow", "numba"],
    )
    print(f"stored {path}")


def _version_of(program: Path | None) -> str | None:
    if program is None:
        return None
    command = "import importlib.metadata; print(importlib.metadata.version('opusfilter'))"
    found = subprocess.run(
        [program.with_name("python"), "-c", command], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


if __name__ == "__main__":
    main()
