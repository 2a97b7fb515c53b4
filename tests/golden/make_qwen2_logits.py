"""Makes the small Qwen2 models of this folder and the logits that `transformers` computes for them.

The test suite compares our logits with these. `transformers` is no dependency of this project:

    python -m venv /tmp/reference && /tmp/reference/bin/pip install torch transformers safetensors
    /tmp/reference/bin/python tests/golden/make_qwen2_logits.py

writes `qwen2_tied/` and `qwen2_untied/`: config.json and model.safetensors as `transformers` saves
them, and logits.safetensors with `input_ids` `[B, T]` and `logits` `[B, T, V]` in float32. Both
have grouped key-value heads, biases in the query, key and value projections, and a rotary base of
1,000,000, as Qwen2.5 has; weights are large enough that attention and norms matter.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

FOLDER = Path(__file__).resolve().parent
SPREAD = 0.3


def make(name: str, *, is_tied: bool, seed: int) -> None:
    """Writes one model folder and its logits."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=100,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_theta=1_000_000.0,
        tie_word_embeddings=is_tied,
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            center = 1.0 if parameter.ndim == 1 and (parameter == 1).all() else 0.0
            parameter.copy_(center + SPREAD * torch.randn_like(parameter))
        input_ids = torch.randint(0, config.vocab_size, (2, 17))
        logits = model(input_ids).logits
    model.save_pretrained(FOLDER / name)
    (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
    save_file(
        {"input_ids": input_ids, "logits": logits.contiguous()},
        FOLDER / name / "logits.safetensors",
    )


if __name__ == "__main__":
    make("qwen2_tied", is_tied=True, seed=1)
    make("qwen2_untied", is_tied=False, seed=2)
