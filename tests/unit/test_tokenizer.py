"""The tokenizer: text is only text, files and fingerprints fit, markers are where they belong."""

import json
import pickle
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.config import load_config
from src.errors import ConfigError, DataError, ModelError
from src.languages import LANGUAGES
from src.tokens.tokenizer import Tokenizer, find_tokenizer, load_tokenizer, train_tokenizer
from tests.fakes.small_tokens import make_pairs, small_tokenizer
from tests.fakes.texts import NASTY, QWEN, ROOT, real_tokenizer

texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(NASTY)


@pytest.fixture(scope="module")
def qwen() -> Tokenizer:
    return real_tokenizer()


@given(st.lists(texts, max_size=5))
def test_a_batch_is_each_of_its_texts(some):
    tokenizer = small_tokenizer()
    assert tokenizer.encode_batch(some) == [tokenizer.encode(text) for text in some]


@given(texts)
def test_decoding_gives_the_text_back(text):
    tokenizer = small_tokenizer()
    well_formed = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    decoded = tokenizer.decode(tokenizer.encode(text))
    assert tokenizer.encode(decoded) == tokenizer.encode(well_formed)
    if well_formed.isascii():
        assert decoded == well_formed


@pytest.mark.parametrize("spelling", ["<|im_end|>", "<|endoftext|>", "<to_zh>", "a<|im_start|>b"])
def test_special_tokens_spelt_in_text_are_ordinary_characters(spelling):
    tokenizer = small_tokenizer()
    ids = tokenizer.encode(spelling)
    assert not set(ids) & set(tokenizer.vocabulary.special_ids.values())
    assert tokenizer.decode(ids) == spelling


def test_special_tokens_of_qwen_spelt_in_text_are_ordinary_characters(qwen):
    text = "".join(qwen.vocabulary.special_ids)
    assert max(qwen.encode(text)) < 151_643
    assert qwen.decode(qwen.encode(text)) == text


def test_decoding_skips_special_and_unknown_ids():
    tokenizer = small_tokenizer()
    ids = [tokenizer.pad_id, *tokenizer.encode("on Monday"), tokenizer.eos_id, 5_000]
    assert tokenizer.decode(ids) == "on Monday"


def test_roles_of_a_trained_tokenizer():
    tokenizer = small_tokenizer()
    ids = [tokenizer.pad_id, tokenizer.eos_id, *tokenizer.marker("en"), *tokenizer.marker("zh")]
    assert ids == [395, 397, 398, 399]
    assert tokenizer.vocab_size == 400


def test_a_tokenizer_has_markers_for_the_languages_it_was_trained_for(tmp_path):
    sides = zip(*make_pairs(50), strict=True)
    texts = [text for side in sides for text in side]
    tokenizer = train_tokenizer(iter(texts), 350, ["zh", "fr", "en", "de"])
    other_order = train_tokenizer(iter(texts), 350, ["de", "en", "fr", "zh", "en"])
    assert tokenizer.fingerprint == other_order.fingerprint
    assert list(tokenizer.vocabulary.special_ids)[3:] == [
        *("<to_en>", "<to_zh>", "<to_de>", "<to_fr>")
    ]
    tokenizer.save(tmp_path)
    assert load_tokenizer(str(tmp_path)).marker("fr") == (349,)
    with pytest.raises(ModelError, match=r"no direction marker <to_ru>.*data\.language_pairs"):
        tokenizer.marker("ru")


def test_roles_of_the_real_tokenizer(qwen):
    assert (qwen.vocab_size, qwen.eos_id, qwen.pad_id) == (151_665, 151_645, 151_643)
    assert (qwen.marker("en"), qwen.marker("zh")) == ((151_646,), (151_647,))
    assert qwen.marker("fr") == (151_648, *qwen.encode("fr"))
    assert len({qwen.marker(language) for language in LANGUAGES}) == len(LANGUAGES)


def test_known_ids_of_the_real_tokenizer(qwen):
    assert qwen.encode("Hello world! 2029年3月5日") == [
        *(9707, 1879, 0, 220, 17, 15, 17, 24, 7948, 18, 9754, 20, 8903)
    ]


def test_saved_tokenizer_is_the_same(tmp_path):
    tokenizer = small_tokenizer()
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.fingerprint == tokenizer.fingerprint
    assert (loaded.eos_id, loaded.pad_id) == (tokenizer.eos_id, tokenizer.pad_id)
    assert loaded.encode(NASTY[8]) == tokenizer.encode(NASTY[8])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_fingerprint_does_not_depend_on_the_file_layout(qwen, tmp_path):
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(QWEN / name, tmp_path / name)
    assert load_tokenizer(str(tmp_path)).fingerprint == qwen.fingerprint


def test_fingerprint_changes_with_a_merge():
    vocabulary = small_tokenizer().vocabulary
    other = type(vocabulary)(vocabulary.tokens, vocabulary.merges[:-1], vocabulary.special_tokens)
    assert other.fingerprint != vocabulary.fingerprint


def test_pickled_tokenizer_is_the_same():
    tokenizer = small_tokenizer()
    copy = pickle.loads(pickle.dumps(tokenizer))  # noqa: S301
    assert copy.fingerprint == tokenizer.fingerprint
    assert copy.encode(NASTY[12]) == tokenizer.encode(NASTY[12])


def test_training_gives_the_same_bytes_in_every_process(tmp_path):
    program = (
        "import pathlib, sys; from tests.fakes.small_tokens import small_tokenizer;"
        "small_tokenizer().save(pathlib.Path(sys.argv[1]))"
    )
    small_tokenizer().save(tmp_path / "here")
    command = [sys.executable, "-c", program, str(tmp_path / "there")]
    subprocess.run(command, check=True, cwd=ROOT)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_training_with_too_small_a_vocabulary_is_refused():
    with pytest.raises(ConfigError, match="train_tokenizer_vocab_size=299 is too small"):
        train_tokenizer(iter(["text"]), 299)


@pytest.mark.parametrize("empty", [[], ["", ""]])
def test_training_without_text_is_refused(empty):
    with pytest.raises(DataError, match="no text to train a tokenizer on"):
        train_tokenizer(iter(empty), 400)


def test_little_text_gives_a_smaller_vocabulary_and_a_warning(caplog):
    tokenizer = train_tokenizer(iter(["abab abab"]), 400)
    assert 261 < tokenizer.vocab_size < 400
    assert f"for {tokenizer.vocab_size} of 400 tokens" in caplog.text


def test_missing_tokenizer_is_named_with_places_and_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PPNLP_HOME", str(tmp_path / "nlp"))
    with pytest.raises(ModelError) as caught:
        load_tokenizer("Qwen/Qwen2.5-0.5B")
    message = str(caught.value)
    assert str(tmp_path / "nlp" / "models" / "Qwen" / "Qwen2.5-0.5B") in message
    assert str(tmp_path / "hf" / "hub" / "models--Qwen--Qwen2.5-0.5B") in message
    assert "huggingface-cli download Qwen/Qwen2.5-0.5B" in message


@pytest.mark.parametrize(
    "cache", ["nlp/models/some/model", "hf/hub/models--some--model/snapshots/0a1b"]
)
def test_names_are_looked_up_in_download_caches(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PPNLP_HOME", str(tmp_path / "nlp"))
    small_tokenizer().save(tmp_path / cache)
    assert load_tokenizer("some/model").fingerprint == small_tokenizer().fingerprint


def test_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds no tokenizer: it needs tokenizer\.json"):
        load_tokenizer(str(tmp_path))


def test_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is a file; name the folder"):
        load_tokenizer(str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["model"].update(type="WordPiece"), "a WordPiece model"),
        (lambda d: d["model"].update(byte_fallback=True), "byte_fallback=True"),
        (lambda d: d.update(normalizer={"type": "Lowercase"}), "the normalizer Lowercase"),
        (lambda d: d.update(pre_tokenizer={"type": "Whitespace"}), "the pre-tokenizer Whitespace"),
        (lambda d: d["model"]["vocab"].pop("Ġ"), "1 of the 256 bytes have no token"),
        (lambda d: d["model"]["merges"].append("x yz"), "vocabulary and merges do not fit"),
        (lambda d: d["model"].pop("merges"), "KeyError: 'merges'"),
        (lambda d: d.update(added_tokens=[]), "has neither <|im_end|> nor a eos_token"),
    ],
)
def test_foreign_tokenizer_files_are_refused(tmp_path, change, message):
    document = small_tokenizer().vocabulary.to_document()
    change(document)
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_tokenizer(str(tmp_path))
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe"])
def test_broken_json_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_tokenizer(str(tmp_path))


def test_vocab_and_merges_need_special_tokens(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ModelError, match="has no special tokens"):
        load_tokenizer(str(tmp_path))


def test_configured_tokenizer_is_the_trained_one(tmp_path):
    overrides = [f"data.output_dir={tmp_path}", "data.train_tokenizer_vocab_size=400"]
    with pytest.raises(ModelError, match="no trained tokenizer"):
        find_tokenizer(load_config([], overrides))
    small_tokenizer().save(tmp_path / "tokenizer")
    found = find_tokenizer(load_config([], overrides))
    assert found.fingerprint == small_tokenizer().fingerprint


def test_configured_tokenizer_is_the_named_folder(tmp_path):
    small_tokenizer().save(tmp_path)
    config = load_config([], [f"data.tokenizer={tmp_path}"])
    assert find_tokenizer(config).fingerprint == small_tokenizer().fingerprint
