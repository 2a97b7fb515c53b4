"""How many sentences a second our decoder translates, next to PaddleNLP's own `generate`.

    python -m benchmarks.translate --model runs/demo/student/final --lines sentences.txt

Both read the same weights in one process, in turns, and must give the same ids: `generate` is
given the prompts padded on the left with their attention mask, in batches of the same size and
sorted by length, as its documentation advises.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import seconds_of, store_result, summarise
from src.corpus.demo_text import distinct_pairs
from src.evaluation.decode import evaluation_mode, translate_ids
from src.evaluation.loops import loop_lengths
from src.evaluation.trained_model import TrainedModel

_MAX_NEW_TOKENS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="model folder with the direction en-zh")
    parser.add_argument("--lines", type=Path, help="English sentences, one a line")
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parsed = parser.parse_args()
    trained = TrainedModel(parsed.model)
    prompts = _prompts(trained, parsed.lines, parsed.sentences)
    ways: dict[str, Callable[[], list[list[int]]]] = {
        "ours": lambda: _ours(trained, prompts, parsed.batch_size, 1),
        "generate": lambda: _generate(trained, prompts, parsed.batch_size, 1),
        "ours, one at a time": lambda: _ours(trained, prompts, 1, 1),
        "ours, beam 4": lambda: _ours(trained, prompts, parsed.batch_size, 4),
        "generate, beam 4": lambda: _generate(trained, prompts, parsed.batch_size, 4),
    }
    answers = {name: way() for name, way in ways.items()}  # the first run compiles
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(parsed.repeats):
        for name, way in ways.items():
            seconds[name].append(seconds_of(way))
    rates = {name: [len(prompts) / value for value in values] for name, values in seconds.items()}
    results: dict[str, object] = {
        f"sentences_per_second, {name}": summarise(values) for name, values in rates.items()
    }
    results["speed_up_over_generate"] = _ratio(seconds, "generate", "ours")
    results["speed_up_over_generate, beam 4"] = _ratio(seconds, "generate, beam 4", "ours, beam 4")
    results["speed_up_of_batching"] = _ratio(seconds, "ours, one at a time", "ours")
    results["equal_answers_share"] = _equal_share(answers["ours"], answers["generate"])
    for name, value in results.items():
        print(f"{name}: {value}")
    path = store_result(
        "translate",
        question="How many sentences a second does decoding translate?",
        baseline="PaddleNLP's generate, same weights and batch size, same run",
        settings={"sentences": len(prompts), "batch_size": parsed.batch_size,
                  "repeats": parsed.repeats, "max_new_tokens": _MAX_NEW_TOKENS},
        results=results,
        packages=("paddlepaddle", "paddlenlp"),
    )  # fmt: skip
    print(path)


def _prompts(trained: TrainedModel, lines: Path | None, count: int) -> list[list[int]]:
    if lines is not None:
        texts = lines.read_text(encoding="utf-8").splitlines()[:count]
    else:
        pairs = distinct_pairs(random.Random(7))  # noqa: S311 - sentences, not secrets
        texts = [pair.english for pair in islice(pairs, count)]
    prompt = trained.prompt("en-zh")
    return [prompt.opening(ids) for ids in trained.tokenizer.encode_batch(texts)]


def _ours(
    trained: TrainedModel, prompts: Sequence[Sequence[int]], batch_size: int, beam_size: int
) -> list[list[int]]:
    return translate_ids(
        trained.model,
        prompts,
        eos_id=trained.tokenizer.eos_id,
        max_new_tokens=_MAX_NEW_TOKENS,
        batch_size=batch_size,
        vocab_size=trained.tokenizer.vocab_size,
        beam_size=beam_size,
    )


def _generate(
    trained: TrainedModel, prompts: Sequence[Sequence[int]], batch_size: int, beam_size: int
) -> list[list[int]]:
    import paddle

    tokenizer = trained.tokenizer
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    results: list[list[int]] = [[] for _ in prompts]
    settings: dict[str, Any] = {
        "max_new_tokens": _MAX_NEW_TOKENS,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
        "bos_token_id": tokenizer.pad_id,
        "decode_strategy": "greedy_search" if beam_size == 1 else "beam_search",
        "num_beams": beam_size,
    }
    with evaluation_mode(trained.model), paddle.no_grad():
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            width = max(len(prompts[index]) for index in batch)
            ids = np.full([len(batch), width], tokenizer.pad_id, dtype=np.int64)
            mask = np.zeros([len(batch), width], dtype=np.int64)
            for row, index in enumerate(batch):
                length = len(prompts[index])
                ids[row, width - length :] = prompts[index]
                mask[row, width - length :] = 1
            found, _ = trained.model.generate(
                paddle.to_tensor(ids), attention_mask=paddle.to_tensor(mask), **settings
            )
            for index, answer in zip(batch, found.numpy(), strict=True):
                ended = np.flatnonzero(answer == tokenizer.eos_id)
                results[index] = answer[: ended[0] if len(ended) else None].tolist()
    return results


def _equal_share(ours: list[list[int]], theirs: list[list[int]]) -> float:
    """Share of equal answers; those that are loops, which only ours cuts, are left out."""
    pairs = [
        (one, two)
        for one, two in zip(ours, theirs, strict=True)
        if not two or not loop_lengths(np.array([two], dtype=np.int64))[0]
    ]
    return round(sum(one == two for one, two in pairs) / len(pairs), 4)


def _ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> float:
    return round(float(np.median(seconds[slow]) / np.median(seconds[fast])), 3)


if __name__ == "__main__":
    main()
