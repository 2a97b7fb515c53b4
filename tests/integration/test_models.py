"""Models: building, files in Hugging Face layout, cached decoding, and clear refusals."""

import json

import numpy as np
import paddle
import pytest
from paddlenlp.transformers.qwen2.modeling import Qwen2RMSNorm

from src.checkpoint.format import write_folder
from src.errors import ModelError
from src.models.factory import (
    build_model,
    hidden_states,
    hidden_states_cached,
    load_model,
    logits,
    make_model,
    published_config,
    set_weights,
    trainable_parameters,
    weight_arrays,
)
from src.models.norm import RMSNorm
from src.schema import ArchitectureConfig, TeacherConfig

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def tiny(*, tied=True, seed=0, vocab_size=50):
    architecture = ArchitectureConfig(**SIZES, tie_word_embeddings=tied)
    return build_model(architecture, vocab_size=vocab_size, seed=seed)


def write_model(model, folder):
    write_folder(
        folder,
        step=0,
        parent=None,
        tensors={"model.safetensors": weight_arrays(model)},
        documents={"config.json": json.dumps(published_config(model))},
        facts={},
    )


def output(model, ids):
    model.eval()
    with paddle.no_grad():
        return logits(model, hidden_states(model, paddle.to_tensor(ids))).numpy()


def gradient(tensor):
    assert tensor.grad is not None
    return tensor.grad.numpy()


IDS = np.array([[3, 9, 4, 1, 30], [7, 7, 2, 0, 0]], dtype=np.int64)


def test_same_seed_builds_the_same_weights():
    first, second, other = tiny(seed=1), tiny(seed=1), tiny(seed=2)
    assert (output(first, IDS) == output(second, IDS)).all()
    assert (output(first, IDS) != output(other, IDS)).any()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_written_model_reads_back_to_the_same_logits(tmp_path, tied):
    model = tiny(tied=tied)
    write_model(model, tmp_path / "model")
    again = load_model(str(tmp_path / "model"))
    assert (output(model, IDS) == output(again, IDS)).all()
    names = set(weight_arrays(model))
    assert "model.layers.1.mlp.down_proj.weight" in names
    assert ("lm_head.weight" in names) is not tied
    # Torch's layout: [out, in].
    assert weight_arrays(model)["model.layers.0.mlp.down_proj.weight"].shape == (16, 24)


def test_sharded_weights_with_an_index_are_read(tmp_path):
    model = tiny()
    arrays = weight_arrays(model)
    names = sorted(arrays)
    files = {
        f"model-{part}.safetensors": {name: arrays[name] for name in names[part::2]}
        for part in range(2)
    }
    index = {name: file for file, group in files.items() for name in group}
    write_folder(
        tmp_path / "model",
        step=0,
        parent=None,
        tensors=files,
        documents={
            "config.json": json.dumps(published_config(model)),
            "model.safetensors.index.json": json.dumps({"weight_map": index}),
        },
        facts={},
    )
    assert (output(load_model(str(tmp_path / "model")), IDS) == output(model, IDS)).all()
    (tmp_path / "model" / "model-1.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks model-1\.safetensors"):
        load_model(str(tmp_path / "model"))


def test_padding_on_the_right_is_never_seen():
    model = tiny()
    longer = np.concatenate([IDS, np.full((2, 3), 11)], axis=1)
    np.testing.assert_allclose(
        output(model, longer)[:, : IDS.shape[1]], output(model, IDS), atol=1e-5
    )


def test_cached_decoding_equals_the_whole_sequence():
    model = tiny()
    model.eval()
    whole = hidden_states(model, paddle.to_tensor(IDS)).numpy()
    with paddle.no_grad():
        hidden, past = hidden_states_cached(model, paddle.to_tensor(IDS[:, :3]), None)
        parts = [hidden.numpy()]
        for position in range(3, IDS.shape[1]):
            hidden, past = hidden_states_cached(
                model, paddle.to_tensor(IDS[:, position : position + 1]), past
            )
            parts.append(hidden.numpy())
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)


def test_fast_norm_equals_paddlenlp_in_value_and_gradient():
    config = tiny().config
    slow = Qwen2RMSNorm(config)
    slow.weight.set_value(paddle.randn([SIZES["hidden_size"]]))
    fast = RMSNorm(slow.weight, slow.variance_epsilon)
    grads = []
    for layer in (slow, fast):
        paddle.seed(5)
        hidden = paddle.randn([3, 4, SIZES["hidden_size"]])
        hidden.stop_gradient = False
        result = layer(hidden)
        (result * paddle.randn(result.shape)).sum().backward()
        grads.append((result.numpy(), gradient(hidden), gradient(slow.weight)))
        slow.weight.clear_gradient()
    for before, after in zip(*grads, strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5)


def test_parameters_are_listed_once_in_name_order():
    tied, untied = trainable_parameters(tiny()), trainable_parameters(tiny(tied=False))
    assert list(tied) == sorted(tied)
    assert set(untied) - set(tied) == {"lm_head.weight"}


def test_bad_folders_are_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        load_model(str(tmp_path / "none"))
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_model(str(folder))
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="has no weights"):
        load_model(str(folder))
    write_model(tiny(), tmp_path / "good")
    (tmp_path / "good" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="is not valid JSON"):
        load_model(str(tmp_path / "good"))
    (tmp_path / "good" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ModelError, match="model_type='bert'"):
        load_model(str(tmp_path / "good"))


def test_weights_of_another_size_are_refused(tmp_path):
    model = tiny()
    arrays = weight_arrays(tiny(vocab_size=60))
    with pytest.raises(ModelError, match=r"embed_tokens\.weight in there has shape \[60, 16\]"):
        set_weights(model, arrays, source="there")
    arrays = weight_arrays(tiny(tied=False))
    del arrays["model.norm.weight"]
    with pytest.raises(ModelError, match=r"missing \['model\.norm\.weight'\]"):
        set_weights(model, arrays, source="there")


def test_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path):
    write_model(tiny(vocab_size=50), tmp_path / "model")
    section = TeacherConfig(model_name=str(tmp_path / "model"))
    with pytest.raises(ModelError, match=r"has 51 ids but model .* has 50 vocabulary rows"):
        make_model(section, vocab_size=51)
