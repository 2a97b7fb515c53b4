"""A small checkpoint whose every byte is a function of its step: a mixture of two is recognised."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from src.checkpoint.format import HostTensor, TensorFiles, read_manifest, read_tensors

MODEL = "model.safetensors"
OPTIMIZER = "optimizer-rank00000.safetensors"
FACTS = {"config_fingerprint": "c0ffee", "world_size": 1}


def tensors_of(step: int, *, elements: int = 4096) -> TensorFiles:
    weights = np.arange(elements, dtype=np.float32) + step
    return {
        MODEL: {
            "embedding": HostTensor.from_numpy(weights.reshape(-1, 16)),
            "norm": HostTensor.from_numpy(np.full(5, step, np.uint16), "BF16"),
        },
        OPTIMIZER: {
            "moment": HostTensor.from_numpy(weights * 2),
            "step": HostTensor.from_numpy(np.array(step, np.int64)),
        },
    }


def documents_of(step: int) -> dict[str, str]:
    return {"state.json": json.dumps({"step": step}), "config.yaml": f"note: 第 {step} 步\n"}


def step_in(folder: Path) -> int:
    """The step that all files of `folder` agree on; fails if they do not."""
    names = set(read_manifest(folder).files)
    step = int(json.loads((folder / "state.json").read_text())["step"])
    assert (folder / "config.yaml").read_text(encoding="utf-8") == documents_of(step)["config.yaml"]
    expected = {name: group for name, group in tensors_of(step).items() if name in names}
    assert MODEL in expected
    for name, group in expected.items():
        found = read_tensors(folder / name)
        assert found.keys() == group.keys()
        for key, tensor in group.items():
            assert_same_tensor(found[key], tensor)
    return step


def assert_same_tensor(found: HostTensor, expected: HostTensor) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.data.dtype == expected.data.dtype
    assert found.data.tobytes() == expected.data.tobytes()
