"""Merging adapters into weights on the host, in the weights' own types."""

import json

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.checkpoint.format import HostTensor
from src.errors import ModelError
from src.models.layout import from_float32, to_float32
from src.models.lora import adapter_scaling, merge_adapter

LAYER = "model.layers.0.self_attn.q_proj"
A, B = (f"base_model.model.{LAYER}.lora_{each}.weight" for each in "AB")


def tensors(dtype="F32"):
    random = np.random.default_rng(0)
    arrays = {
        f"{LAYER}.weight": random.normal(size=(6, 4)),
        "model.norm.weight": random.normal(size=4),
        A: random.normal(size=(2, 4)),
        B: random.normal(size=(6, 2)),
    }
    made = {
        name: from_float32(value.astype(np.float32), "F32" if "lora" in name else dtype)
        for name, value in arrays.items()
    }
    return {name: made[name] for name in made if "lora" not in name}, {A: made[A], B: made[B]}


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_merged_weight_is_base_plus_scaled_product(dtype):
    base, adapter = tensors(dtype)
    merged = merge_adapter(base, adapter, scaling=0.5)
    expected = to_float32(base[f"{LAYER}.weight"]).astype(np.float64)
    expected = expected + 0.5 * adapter[B].data.astype(np.float64) @ adapter[A].data
    found = merged[f"{LAYER}.weight"]
    assert found.dtype == dtype
    relative = {"F32": 1e-6, "F16": 1e-3, "BF16": 8e-3}[dtype]
    np.testing.assert_allclose(to_float32(found).astype(np.float64), expected, atol=relative * 5)
    assert merged["model.norm.weight"] is base["model.norm.weight"]


def test_matrices_that_do_not_fit_are_named():
    base, adapter = tensors()
    with pytest.raises(ModelError, match=rf"lora_A\.weight has no {B} or no weight"):
        merge_adapter(base, {A: adapter[A]}, scaling=1.0)
    with pytest.raises(ModelError, match=rf"no weight {LAYER}\.weight to adapt"):
        merge_adapter({"other": base["model.norm.weight"]}, adapter, scaling=1.0)
    short = HostTensor.from_numpy(adapter[A].data[:, :3].copy())
    with pytest.raises(ModelError, match=r"shapes \[2, 3\] and \[6, 2\], its weight has \[6, 4\]"):
        merge_adapter(base, {**adapter, A: short}, scaling=1.0)


@pytest.mark.parametrize("content", [{"r": 4}, {"r": 0, "lora_alpha": 8}, {"lora_alpha": 8}])
def test_a_description_without_its_numbers_is_refused(tmp_path, content):
    (tmp_path / "adapter.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="needs a positive r and lora_alpha"):
        adapter_scaling(tmp_path)


def test_scaling_is_alpha_over_r(tmp_path):
    (tmp_path / "adapter.json").write_text('{"r": 4, "lora_alpha": 10}', encoding="utf-8")
    assert adapter_scaling(tmp_path) == pytest.approx(2.5)


@given(
    st.lists(
        st.floats(width=32, allow_nan=False, min_value=-(2.0**126), max_value=2.0**126),
        min_size=1,
    )
)
def test_bfloat16_is_rounded_as_paddle_rounds(values):
    array = np.array(values, dtype=np.float32)
    rounded = paddle.to_tensor(array).astype("bfloat16").astype("float32").numpy()
    np.testing.assert_array_equal(to_float32(from_float32(array, "BF16")), rounded)
