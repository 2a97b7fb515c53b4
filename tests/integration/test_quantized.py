"""Adapters on low-bit weights; needs a GPU and PaddleSlim's CUDA extension."""

import json

import numpy as np
import paddle
import pytest

from src.checkpoint.format import write_folder
from src.models.description import published_config
from src.models.factory import (
    build_model,
    hidden_states,
    load_model,
    logits,
    make_model,
    trainable_parameters,
    weight_arrays,
)
from src.models.quantize import require_quantization
from src.schema import ArchitectureConfig, LoraConfig, TeacherConfig
from src.training.losses import scalar
from src.training.trainable import make_trainable

pytestmark = pytest.mark.gpu

IDS = np.array([[3, 9, 4, 1, 30], [7, 7, 2, 0, 0]], dtype=np.int64)


@pytest.fixture
def folder(tmp_path):
    """A model whose layers are wide enough for blocks of 64."""
    model = build_model(
        ArchitectureConfig(
            hidden_size=256,
            num_hidden_layers=2,
            intermediate_size=512,
            num_attention_heads=4,
            num_key_value_heads=2,
        ),
        vocab_size=50,
        seed=0,
    )
    write_folder(
        tmp_path / "model",
        step=0,
        tensors={"model.safetensors": weight_arrays(model)},
        documents={"config.json": json.dumps(published_config(model))},
        facts={},
    )
    return tmp_path / "model"


@pytest.mark.parametrize(("kind", "tolerance"), [("int8", 0.05), ("nf4", 0.3)])
def test_low_bit_model_is_close_to_the_original_and_learns(folder, kind, tolerance):
    section = TeacherConfig(
        model_name=str(folder),
        lora=LoraConfig(r=4, dropout=0.0),
        quantization=kind,
        bf16=True,
        fp16_opt_level="O2",
        learning_rate=0.01,
    )
    require_quantization(section, name="teacher")
    original = load_model(str(folder), dtype="bfloat16")
    model = make_model(section, vocab_size=50)
    ids = paddle.to_tensor(IDS)
    with paddle.no_grad():
        expected, found = (
            logits(each, hidden_states(each, ids)).astype("float32").numpy()
            for each in (original, model)
        )
    assert abs(found - expected).mean() < tolerance * abs(expected).mean()

    assert all("lora_" in name for name in trainable_parameters(model))
    trained = make_trainable(section, model)
    model.train()
    values = []
    for _ in range(10):
        with trained.precision.autocast():
            scores = logits(model, hidden_states(model, ids)).astype("float32")
            loss = (paddle.logsumexp(scores, axis=-1) - scores[..., 0]).mean()
        loss.backward()
        trained.step()
        trained.optimizer.clear_grad()
        values.append(scalar(loss))
    assert values[-1] < values[0]
