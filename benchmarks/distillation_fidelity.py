"""How much of a teacher's distribution do soft labels keep, by method, size and temperature?

    python -m benchmarks.distillation_fidelity [--config configs/demo.yaml] [key=value …]

Needs a trained teacher and student of that configuration (`make demo` makes both). For k = 8 … 128
entries and temperatures 1, 2 and 3: bytes per target token, probability kept, the divergence from
the stored form as a share of the true one, and cosine and error of the gradient of the output
layer against the full distribution's (the baseline), once for the trained student and once for the
stand-in that `run.py soft-labels` uses, which needs none. Beside them, the same for top-k with
the rest left out and the entries scaled to one, the usual recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import paddle

from benchmarks.harness import seconds_of, store_result
from src.config import load_config
from src.distillation.soft_labels.fidelity import Fidelity, measure_fidelity
from src.distillation.soft_labels.layout import METHODS, RecordLayout, Stored
from src.models.factory import Model, load_model
from src.schema import Config
from src.tokens.stream import evaluation_batches
from src.training.corpus import Corpus, open_corpus
from src.training.objective import projection_of, target_hidden
from src.training.run import to_tensors

SIZES = (8, 16, 32, 64, 128)
TEMPERATURES = (1.0, 2.0, 3.0)
QWEN_IDS = 151_665


class Renormalised(RecordLayout):
    """Top-k without a tail, scaled to one."""

    def decode(self, records: paddle.Tensor) -> Stored:
        stored = super().decode(records)
        weights = stored.weights / stored.weights.sum(axis=-1, keepdim=True)
        return Stored(stored.ids, weights, paddle.zeros_like(stored.rest), stored.entropy)


@paddle.no_grad()
def hidden_of(model: Model, config: Config, corpus: Corpus, pairs: int) -> paddle.Tensor:
    """Hidden states at the target positions of some dev pairs, which neither model has seen."""
    model.eval()
    batches = evaluation_batches(
        corpus.cache.split("dev"),
        corpus.tokenizer,
        language_pairs=config.data.language_pairs,
        prompt=config.student.prompt,
        max_seq_length=config.student.max_seq_length,
        batch_size=16,
        max_pairs=pairs,
    )
    return paddle.concat([target_hidden(model, to_tensors(batch)) for batch in batches])


def describe(found: Fidelity, name: str, nearest: str) -> dict[str, object]:
    qwen_bytes = RecordLayout(found.method, found.top_k, QWEN_IDS).record_bytes
    return {"name": name, "student": nearest, "bytes_at_151665_ids": qwen_bytes} | found.as_json()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--pairs", type=int, default=100, help="dev pairs per direction")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    config = load_config([arguments.config], arguments.overrides)
    corpus = open_corpus(config)
    vocab_size = corpus.tokenizer.vocab_size
    folders = [Path(section.output_dir) / "final" for section in (config.teacher, config.student)]
    teacher, student = (load_model(str(folder)) for folder in folders)
    hidden = hidden_of(teacher, config, corpus, arguments.pairs)
    learner = hidden_of(student, config, corpus, arguments.pairs), projection_of(student)
    rows: list[dict[str, object]] = []
    sizes = [size for size in SIZES if size < vocab_size]
    layouts: dict[str, list[RecordLayout]] = {
        method: [RecordLayout(method, size, vocab_size) for size in sizes] for method in METHODS
    }
    layouts["renormalised"] = [Renormalised("uniform_tail", size, vocab_size) for size in sizes]
    for temperature in TEMPERATURES:
        for nearest, own in (("trained", learner), ("stand-in", None)):
            for name, ways in layouts.items():
                found = measure_fidelity(
                    hidden, projection_of(teacher), ways, temperature=temperature, student=own
                )
                for item in found:
                    rows.append({"temperature": temperature} | describe(item, name, nearest))
                    print(
                        f"T={temperature:g} {nearest:<9} {name:<13} k={item.top_k:<4}"
                        f"{rows[-1]['bytes_at_151665_ids']:>4} B  mass {item.mass_kept:.3f}  "
                        f"KL {item.divergence:.3f}  cosine {item.cosine:.4f}  "
                        f"error {item.error:.3f}  hidden {item.hidden_cosine:.4f}"
                    )
    if arguments.store:
        store_result(
            "distillation_fidelity",
            question="How much of a teacher's distribution do soft labels keep?",
            baseline="the full distribution; and top-k scaled to one (renormalised)",
            settings={
                "target_tokens": int(hidden.shape[0]),
                "vocabulary": vocab_size,
                "seconds_per_method": round(
                    seconds_of(
                        lambda: measure_fidelity(
                            hidden,
                            projection_of(teacher),
                            layouts["sampled_tail"][:1],
                            temperature=1.0,
                        )
                    ),
                    2,
                ),
            },
            results={"rows": rows},
            packages=("paddlepaddle", "numpy"),
        )


if __name__ == "__main__":
    main()
