"""A model that learns a few sentences by heart, in the folder that the student recipe leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle

from src.checkpoint.format import write_folder
from src.models.description import published_config
from src.models.factory import Model, hidden_states, logits, weight_arrays
from src.tokens.tokenizer import Tokenizer

Row = tuple[Sequence[int], Sequence[int]]
"""Ids of an opening, which carry no loss, and of what follows."""


def learn_by_heart(
    model: Model, rows: Sequence[Row], *, pad_id: int, steps: int, learning_rate: float
) -> None:
    """Fits the model to the rows, all of them in one batch."""
    width = max(len(opening) + len(target) for opening, target in rows)
    ids = np.full([len(rows), width], pad_id, dtype=np.int64)
    counted = np.zeros([len(rows), width], dtype="float32")
    for row, (opening, target) in enumerate(rows):
        sequence = [*opening, *target]
        ids[row, : len(sequence)] = sequence
        counted[row, len(opening) : len(sequence)] = 1.0
    tokens, mask = paddle.to_tensor(ids), paddle.to_tensor(counted[:, 1:])
    optimizer = paddle.optimizer.AdamW(learning_rate, parameters=model.parameters())
    for _ in range(steps):
        values = logits(model, hidden_states(model, tokens[:, :-1]))
        losses = paddle.nn.functional.cross_entropy(values, tokens[:, 1:], reduction="none")
        loss = (losses.squeeze(-1) * mask).sum() / mask.sum()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()


def write_translator(
    folder: Path,
    model: Model,
    tokenizer: Tokenizer,
    *,
    directions: Sequence[str],
    max_seq_length: int,
    step: int,
) -> None:
    """Writes model, tokenizer and how they are asked; the parent folder is made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    ours = {
        "prompt": "compact",
        "language_pairs": list(directions),
        "max_seq_length": max_seq_length,
    }
    write_folder(
        folder,
        step=step,
        tensors={"model.safetensors": weight_arrays(model)},
        documents={"config.json": json.dumps({**published_config(model), "linguabridge": ours})},
        facts={},
    )
    tokenizer.save(folder)
