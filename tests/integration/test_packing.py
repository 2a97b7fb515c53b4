"""Several pairs in a row: the model, the loss and the gradients are those of the pairs alone."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from src.distillation.online import distillation_loss
from src.models.borders import Borders, prepare_for_borders
from src.models.factory import build_model, hidden_states, logits, trainable_parameters
from src.schema import ArchitectureConfig, StudentConfig
from src.tokens.stream import StreamingDataset
from src.training.objective import reference_loss
from src.training.run import to_tensors
from tests.fakes.micro_batches import sequences_of
from tests.fakes.small_tokens import DIRECTIONS, make_pairs, small_tokenizer, write_cache

WIDTH = 60
ARCHITECTURE = ArchitectureConfig(
    hidden_size=32,
    num_hidden_layers=2,
    intermediate_size=48,
    num_attention_heads=4,
    num_key_value_heads=2,
    initializer_range=0.3,  # far from uniform attention, so that a leak would show
)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    pairs = make_pairs(60, longest=14)
    return write_cache(tmp_path_factory.mktemp("cache") / "tokens", pairs).split("train")


def whole_epoch(split, **changes):
    """A stream whose only step holds every pair."""
    options = {"global_batch_size": 1000, "batch_size": 4, "seed": 3, "max_seq_length": WIDTH}
    return StreamingDataset(
        split,
        small_tokenizer(),
        language_pairs=DIRECTIONS,
        prompt="compact",
        **{**options, **changes},
    )


def model_of(seed=1):
    return build_model(ARCHITECTURE, vocab_size=small_tokenizer().vocab_size, seed=seed)


def online_loss(model):
    teacher = model_of(seed=2)
    for parameter in teacher.parameters():
        parameter.stop_gradient = True
    section = StudentConfig(packing=True, temperature=2.0)
    return distillation_loss(model, teacher, section, vocab_size=small_tokenizer().vocab_size)


def gradients_of(model, loss, steps):
    """Loss and gradients of one global batch, over the shares of all ranks."""
    total = 0.0
    for step in steps:
        for part in step["micro_batches"]:
            value = loss(to_tensors(part)).total / step["target_tokens"]
            value.backward()
            total += value.item()
    gradients = {}
    for name, parameter in trainable_parameters(model).items():
        assert parameter.grad is not None
        gradients[name] = parameter.grad.numpy()
        parameter.clear_gradient(False)
    return total, gradients


def test_logits_of_a_packed_row_are_those_of_the_pairs_alone(split):
    model = model_of()
    step = whole_epoch(split, packing=True).step_batch(0, 0)
    compared = 0
    for part in step["micro_batches"]:
        tensors = to_tensors(part)
        borders = Borders(tensors["position_ids"], tensors["sequence_ends"])
        packed = logits(model, hidden_states(model, tensors["input_ids"], borders)).numpy()
        sequences = list(sequences_of(part))
        assert len(sequences) > len(packed)
        for row, begin, ids in sequences:
            alone = logits(model, hidden_states(model, paddle.to_tensor([ids]))).numpy()[0]
            found = packed[row, begin : begin + len(ids)]
            np.testing.assert_allclose(found, alone, atol=1e-5 * abs(alone).max())
            compared += 1
    assert compared == step["pairs"] > 100


def test_without_borders_pairs_would_see_each_other(split):
    """What the mask is for: the same rows as if they were one sequence differ by far."""
    model = model_of()
    part = whole_epoch(split, packing=True).step_batch(0, 0)["micro_batches"][0]
    tensors = to_tensors(part)
    borders = Borders(tensors["position_ids"], tensors["sequence_ends"])
    packed = hidden_states(model, tensors["input_ids"], borders)
    joined = hidden_states(model, tensors["input_ids"])
    assert float((packed - joined).abs().max()) > 0.1


@pytest.mark.parametrize("make_loss", [reference_loss, online_loss])
@pytest.mark.parametrize(("ranks", "recompute"), [(1, False), (3, False), (1, True)])
def test_loss_and_gradients_of_a_packed_step_are_those_of_the_unpacked_one(
    split, make_loss, ranks, recompute
):
    model = model_of()
    loss = make_loss(model)
    if recompute:
        model.recompute_enable()
    model.train()
    plain, expected = gradients_of(model, loss, [whole_epoch(split).step_batch(0, 0)])
    shares = [
        whole_epoch(split, packing=True, rank=rank, world_size=ranks).step_batch(0, 0)
        for rank in range(ranks)
    ]
    packed, found = gradients_of(model, loss, shares)
    assert packed == pytest.approx(plain, rel=1e-5)
    for name, gradient in expected.items():
        scale = abs(gradient).max()
        assert scale > 0
        np.testing.assert_allclose(found[name], gradient, atol=2e-5 * scale, err_msg=name)


def test_mask_lets_a_position_see_its_own_sequence_up_to_itself():
    ends = paddle.to_tensor([[2, 2, 5, 5, 5, 6]])
    mask = Borders(paddle.zeros_like(ends), ends).mask().numpy()[0].astype(int)
    assert mask.tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


@pytest.mark.gpu
def test_flash_mask_gives_the_hidden_states_of_the_mask_in_bfloat16(split):
    paddle.device.set_device("gpu")
    model = model_of()
    part = to_tensors(whole_epoch(split, packing=True).step_batch(0, 0)["micro_batches"][0])
    borders = Borders(part["position_ids"], part["sequence_ends"])
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"), paddle.no_grad():
        masked = hidden_states(model, part["input_ids"], borders).astype("float32").numpy()
        prepare_for_borders(model, is_low_precision=True)
        assert model.config.use_flash_attention
        flash = hidden_states(model, part["input_ids"], borders).astype("float32").numpy()
    np.testing.assert_allclose(flash, masked, atol=0.05 * abs(masked).max())
