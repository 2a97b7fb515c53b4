"""Qwen2 written out in NumPy and float64, from the published description, as a reference."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class NumpyQwen2:
    """Weights in Hugging Face names and layout, and the forward pass over them."""

    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
        self.weights = {name: array.astype(np.float64) for name, array in weights.items()}

    def logits(self, ids):
        """`[B, T]` → `[B, T, V]`, causal."""
        hidden = self.weights["model.embed_tokens.weight"][ids]
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}"
            normed = self._norm(hidden, f"{prefix}.input_layernorm")
            hidden = hidden + self._attention(normed, f"{prefix}.self_attn")
            normed = self._norm(hidden, f"{prefix}.post_attention_layernorm")
            hidden = hidden + self._feed_forward(normed, f"{prefix}.mlp")
        head = "model.embed_tokens" if self.config["tie_word_embeddings"] else "lm_head"
        return self._norm(hidden, "model.norm") @ self.weights[f"{head}.weight"].T

    def loss(self, ids, positions, labels):
        """Mean cross-entropy in nats at flat positions of `[B * T]`."""
        logits = self.logits(ids).reshape(-1, self.config["vocab_size"])[positions]
        shifted = logits - logits.max(axis=-1, keepdims=True)
        partition = np.log(np.exp(shifted).sum(axis=-1))
        return (partition - shifted[np.arange(len(labels)), labels]).mean()

    def _norm(self, hidden, name):
        scale = 1 / np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + self.config["rms_norm_eps"])
        return hidden * scale * self.weights[f"{name}.weight"]

    def _linear(self, hidden, name):
        bias = self.weights.get(f"{name}.bias", 0.0)
        return hidden @ self.weights[f"{name}.weight"].T + bias

    def _feed_forward(self, hidden, name):
        gate = self._linear(hidden, f"{name}.gate_proj")
        gate = gate / (1 + np.exp(-gate))
        return self._linear(gate * self._linear(hidden, f"{name}.up_proj"), f"{name}.down_proj")

    def _attention(self, hidden, name):
        heads, groups = (
            self.config["num_attention_heads"],
            self.config["num_key_value_heads"],
        )
        batch, length, width = hidden.shape
        size = width // heads

        def split(projection, count):
            projected = self._linear(hidden, f"{name}.{projection}")
            return projected.reshape(batch, length, count, size).transpose(0, 2, 1, 3)

        query, key = (
            self._rotate(split(*part)) for part in (("q_proj", heads), ("k_proj", groups))
        )
        key = key.repeat(heads // groups, axis=1)
        value = split("v_proj", groups).repeat(heads // groups, axis=1)
        scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(size)
        scores = np.where(np.tri(length, dtype=bool), scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        mixed = (shares @ value).transpose(0, 2, 1, 3).reshape(batch, length, width)
        return self._linear(mixed, f"{name}.o_proj")

    def _rotate(self, heads):
        """Rotary positions (Su et al. 2021): pairs are the two halves of a head."""
        length, size = heads.shape[-2:]
        base = self.config["rope_parameters"]["rope_theta"]
        angles = np.arange(length)[:, None] * base ** (-np.arange(0, size, 2) / size)
        cosine, sine = (np.tile(each, 2) for each in (np.cos(angles), np.sin(angles)))
        first, second = np.split(heads, 2, axis=-1)
        return heads * cosine + np.concatenate([-second, first], axis=-1) * sine
