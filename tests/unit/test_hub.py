"""Model folders: their files, what they are known by, and what is wrong with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from src.errors import ModelError
from src.models.hub import (
    adapter_base,
    find_model_folder,
    is_adapter,
    model_fingerprint,
    read_json,
    start_fingerprint,
    weight_files,
)
from src.schema import TeacherConfig

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "model"
    shutil.copytree(GOLDEN / "qwen2_tied", target)
    (target / "logits.safetensors").unlink()
    return target


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def split_weights(folder):
    """The same weights in two files with an index."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    parts = {f"model-{part}.safetensors": names[part::2] for part in range(2)}
    for file, group in parts.items():
        save_file({name: weights[name] for name in group}, folder / file)
    (folder / "model.safetensors").unlink()
    index = {name: file for file, group in parts.items() for name in group}
    text = json.dumps({"weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def test_fingerprint_is_of_the_content_not_of_place_and_files(folder, tmp_path):
    before = model_fingerprint(str(folder))
    folder.rename(tmp_path / "moved")
    assert model_fingerprint(str(tmp_path / "moved")) == before
    split_weights(tmp_path / "moved")
    assert model_fingerprint(str(tmp_path / "moved")) == before


def test_fingerprint_tells_models_of_one_shape_apart(folder):
    def nudge(weights):
        weights["model.norm.weight"][0] += 1e-6

    def retype(weights):
        weights["model.norm.weight"] = weights["model.norm.weight"].astype(np.float16)

    found = {model_fingerprint(str(folder))}
    for change in (nudge, retype):
        change_weights(folder, change)
        found.add(model_fingerprint(str(folder)))
    config = read_json(folder / "config.json")
    text = json.dumps({**config, "rms_norm_eps": 1e-5})
    (folder / "config.json").write_text(text, encoding="utf-8")
    found.add(model_fingerprint(str(folder)))
    assert len(found) == 4


def test_a_training_starts_from_a_model_or_from_sizes(folder):
    model = start_fingerprint(TeacherConfig(model_name=str(folder)))
    assert model == model_fingerprint(str(folder))
    small, large = (
        start_fingerprint(TeacherConfig.model_validate({"architecture": name}))
        for name in ("qwen2.5-0.5b", "qwen2.5-7b")
    )
    assert len({model, small, large}) == 3
    assert start_fingerprint(TeacherConfig(model_name="Qwen/Qwen2.5-7B")) == "Qwen/Qwen2.5-7B"


def test_an_adapter_is_made_of_its_files_and_those_of_its_base(folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("config.json", "adapter.safetensors"):
        shutil.copy(folder / name.replace("adapter", "model"), adapter / name)
    assert is_adapter(adapter)
    with pytest.raises(ModelError, match=r"has adapter\.safetensors without adapter\.json"):
        weight_files(adapter)
    description = adapter / "adapter.json"
    description.write_text('{"base_model_name_or_path": 3}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"does not name its base model .*=3\)"):
        adapter_base(adapter)
    description.write_text('{"base_model_name_or_path": "Qwen/Qwen2.5-7B"}', encoding="utf-8")
    assert weight_files(adapter) == [adapter / "adapter.safetensors"]
    text = json.dumps({"base_model_name_or_path": str(folder)})
    description.write_text(text, encoding="utf-8")
    assert weight_files(adapter) == [
        adapter / "adapter.safetensors",
        folder / "model.safetensors",
    ]
    # A folder with a whole model is one, whatever lies beside it.
    shutil.copy(folder / "model.safetensors", adapter / "model.safetensors")
    assert not is_adapter(adapter)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "holds list, not an object"),
        ("{", "is not valid JSON"),
        ('{"weight_map": ["model.safetensors"]}', "has no weight_map of tensor names"),
        ('{"weight_map": {"a": "b.safetensors"}}', r"lacks b\.safetensors; copy it there"),
    ],
)
def test_a_bad_index_is_explained(folder, content, message):
    (folder / "model.safetensors.index.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        find_model_folder(str(folder))


def test_names_paths_and_files_are_told_apart(folder):
    assert find_model_folder("Qwen/Qwen2.5-0.5B") is None
    with pytest.raises(ModelError, match=r"model folder .* is a file; give a folder"):
        find_model_folder(str(folder / "config.json"))
    with pytest.raises(ModelError, match=r"model folder \./nowhere does not exist"):
        find_model_folder("./nowhere")
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(ModelError, match=r"config\.json cannot be read: Is a directory"):
        read_json(folder / "config.json")
