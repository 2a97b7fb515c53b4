"""Models: building, files in Hugging Face layout, cached decoding, and clear refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddlenlp.transformers.qwen2.modeling import Qwen2RMSNorm
from safetensors.numpy import load_file

from src.checkpoint.format import write_folder
from src.errors import ModelError
from src.models.description import published_config
from src.models.factory import (
    build_model,
    hidden_states,
    hidden_states_cached,
    load_model,
    logits,
    make_model,
    set_weights,
    trainable_parameters,
    weight_arrays,
)
from src.models.layout import from_float32
from src.models.norm import RMSNorm
from src.schema import ArchitectureConfig, TeacherConfig

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
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


@pytest.mark.parametrize("name", ["qwen2_tied", "qwen2_untied"])
def test_logits_are_those_of_transformers(name):
    golden = load_file(GOLDEN / name / "logits.safetensors")
    model = load_model(str(GOLDEN / name))
    ids = golden["input_ids"]
    np.testing.assert_allclose(output(model, ids), golden["logits"], atol=1e-4)
    with paddle.no_grad():
        hidden, past = hidden_states_cached(model, paddle.to_tensor(ids[:, :9]), None)
        parts = [hidden]
        for position in range(9, ids.shape[1]):
            step = paddle.to_tensor(ids[:, position : position + 1])
            hidden, past = hidden_states_cached(model, step, past)
            parts.append(hidden)
        decoded = logits(model, paddle.concat(parts, axis=1)).numpy()
    np.testing.assert_allclose(decoded, golden["logits"], atol=1e-4)


@pytest.mark.parametrize("name", ["qwen2_tied", "qwen2_untied"])
def test_what_transformers_wrote_is_written_back_byte_for_byte(tmp_path, name):
    model = load_model(str(GOLDEN / name))
    write_model(model, tmp_path / "model")
    theirs = load_file(GOLDEN / name / "model.safetensors")
    ours = load_file(tmp_path / "model" / "model.safetensors")
    assert set(ours) == set(theirs)
    for key, array in theirs.items():
        assert ours[key].dtype == array.dtype
        np.testing.assert_array_equal(ours[key], array, err_msg=key)
    config = json.loads((GOLDEN / name / "config.json").read_text(encoding="utf-8"))
    written = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    # transformers 5 keeps the rotary base in rope_parameters, and reads the older place too.
    assert written.pop("rope_theta") == config["rope_parameters"]["rope_theta"]
    assert {key: config[key] for key in written} == written


def test_rotary_base_is_read_in_the_old_and_the_new_place(tmp_path):
    expected = output(load_model(str(GOLDEN / "qwen2_tied")), IDS)
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "qwen2_tied", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["rope_parameters"]
    for theta, is_equal in ((1_000_000.0, True), (10_000.0, False)):
        text = json.dumps({**config, "rope_theta": theta, "rope_scaling": None})
        (folder / "config.json").write_text(text, encoding="utf-8")
        assert (output(load_model(str(folder)), IDS) == expected).all() == is_equal


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, r"rope_type='yarn'"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, r"rope_type='linear'"),
        ({"use_sliding_window": True}, "only full attention is supported"),
    ],
)
def test_models_that_would_compute_something_else_are_refused(tmp_path, change, message):
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "qwen2_tied", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_model(str(folder))


def test_bfloat16_files_are_read_exactly(tmp_path):
    model = tiny()
    arrays = weight_arrays(model)
    halves = {name: from_float32(tensor.data, "BF16") for name, tensor in arrays.items()}
    write_folder(
        tmp_path / "model",
        step=0,
        parent=None,
        tensors={"model.safetensors": halves},
        documents={"config.json": json.dumps(published_config(model))},
        facts={},
    )
    for name, tensor in weight_arrays(load_model(str(tmp_path / "model"))).items():
        rounded = paddle.to_tensor(arrays[name].data).astype("bfloat16").astype("float32")
        np.testing.assert_array_equal(tensor.data, rounded.numpy(), err_msg=name)


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


def test_a_name_that_cannot_be_downloaded_is_explained_with_its_size():
    with pytest.raises(ModelError) as caught:
        load_model("no-such-organisation/Qwen2.5-7B-Instruct")
    text = str(caught.value)
    assert "Qwen2.5-7B-Instruct (7.6G parameters, 14.2 GiB in bfloat16) is not a local" in text
    assert "download it elsewhere and give the folder" in text
    assert "\n" not in text


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
