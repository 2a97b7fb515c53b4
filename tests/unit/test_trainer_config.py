"""Keys of training that contradict each other, or name what does not exist: one sentence each."""

import pytest

from src.config import load_config
from src.errors import ConfigError
from src.schema.model_sizes import MODEL_SIZES, find_model_size

LOW = ("teacher.bf16=true", "teacher.fp16_opt_level=O2")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["teacher.optimizer=lion"],
            "teacher.optimizer: there is no optimizer 'lion' in Paddle; choose adamw, adam,",
        ),
        (["student.optimizer=[adamw]"], r"no optimizer \['adamw'\]"),
        (["teacher.quantization=nf4", *LOW], "quantization=nf4 freezes the weights"),
        (["teacher.lora={}", "teacher.quantization=int8"], "quantization=int8 computes in low"),
        (["teacher.lora={}", "teacher.architecture=qwen2.5-0.5b"], "lora trains adapters of a"),
        (["teacher.optimizer=radam", *LOW], "optimizer=radam keeps no float32 copies"),
        (["teacher.lora.targets=[]"], r"teacher.lora.targets: name at least one layer"),
        (["teacher.lora.targets=[q_proj, q_proj]"], "each once, got"),
        (["teacher.lora.targets=[query]"], "input should be 'q_proj', 'k_proj'"),
        (["teacher.lora.rank=8"], r"teacher.lora.rank: unknown key"),
        (["teacher.lora.dropout=1"], "input should be less than 1"),
        (["teacher.ema_decay=1"], "input should be less than 1"),
        (["teacher.architecture=gpt2"], "no known model 'gpt2'; give its sizes, or one of Qwen/"),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(overrides, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config([], overrides)
    assert len(caught.value.problems) == 1


def test_an_adapter_is_complete_by_default_and_partly_overridable():
    lora = load_config([], ["teacher.lora={}"]).teacher.lora
    assert lora is not None
    assert (lora.r, lora.alpha, lora.dropout, len(lora.targets)) == (16, 32.0, 0.05, 7)
    changed = load_config([], ["student.lora.r=4", "student.lora.targets=[q_proj]"]).student.lora
    assert changed is not None
    assert (changed.r, changed.targets) == (4, ("q_proj",))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-0.5B", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512),
    ],
)
def test_published_models_are_known_by_name_with_their_number_of_weights(name, parameters):
    size = find_model_size(name)
    assert size is not None
    assert size.parameters == parameters


def test_other_names_are_not_known():
    assert find_model_size("Qwen/Qwen2.5-72B") is None
    assert find_model_size("models/teacher") is None


@pytest.mark.parametrize("size", MODEL_SIZES, ids=lambda size: size.name)
def test_a_name_stands_for_its_sizes(size):
    section = load_config([], [f"teacher.architecture={size.name}"]).teacher
    assert section.architecture is not None
    assert section.architecture.hidden_size == size.hidden_size
    assert section.architecture.tie_word_embeddings == size.tie_word_embeddings
