"""Writing the exported folder: weights as one model, and everything around them.

    README.md                       the model card
    config.json                     as trained, with the type of the weights
    generation_config.json          greedy, and which token ends a translation
    model.safetensors               adapters merged, moving average where there is one; above 5 GB
                                    model-00001-of-0000N.safetensors … and an index
    tokenizer.json  tokenizer_config.json
    config.yaml                     the configuration it was trained with
    probes.json                     see src.export.probes
    MANIFEST.json                   sizes and SHA-256 of the above, written last

The folder is prepared under another name and renamed when whole, as checkpoints are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from src.checkpoint.format import (
    HashingFile,
    HostTensor,
    Manifest,
    hash_file,
    partial_path,
    remove_folder,
    seal_folder,
)
from src.checkpoint.manifest import MANIFEST_NAME, read_manifest
from src.checkpoint.tensors import write_safetensors
from src.errors import CheckpointCorrupt, ConfigError
from src.evaluation.trained_model import TrainedModel
from src.export.card import CardFacts, model_card
from src.export.probes import PROBES_FILE, make_probes
from src.files import flush_to_disk, write_text
from src.models.hub import CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_INDEX_FILE, read_json
from src.units import format_bytes

WeightType = Literal["float32", "float16", "bfloat16"]

logger = logging.getLogger(__name__)

EXPORTED = "exported_from"
"""Fact in the manifest that tells an exported folder from a checkpoint."""

# The hub serves smaller files better, and this is what transformers itself writes.
_SHARD_BYTES = 5_000_000_000
_SAFETENSORS_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_GENERATION_TOKENS = 256


def export_model(
    model_folder: str,
    output: Path,
    *,
    weight_type: WeightType | None = None,
    license_id: str | None = None,
    shard_bytes: int = _SHARD_BYTES,
) -> dict[str, Any]:
    """Writes a trained model as a folder that `transformers` loads.

    Args:
        model_folder: A folder of this project: `final`, `best` or a checkpoint.
        output: The new folder; an exported one of this name is replaced.
        weight_type: None: as the weights are stored.
        license_id: For the card, e.g. "apache-2.0". None: that of the base model, if known.
        shard_bytes: Largest weights file.

    Returns:
        folder, bytes, files and weight_type.

    Raises:
        ConfigError: If `output` holds something else.
        ModelError: If the model cannot be used.
    """
    trained = TrainedModel(model_folder)
    _refuse_foreign(output, trained.folder)
    partial = partial_path(output)
    remove_folder(partial)
    partial.mkdir(parents=True)
    try:
        found_type = _write_weights(partial, trained, weight_type, shard_bytes)
        _write_settings(partial, trained, found_type)
        logger.info("translating the probes with the exported weights")
        probes = make_probes(partial)
        write_text(partial / PROBES_FILE, json.dumps(probes, ensure_ascii=False, indent=1) + "\n")
        facts = CardFacts.collect(
            trained, weight_type=found_type, license_id=license_id, probes=probes
        )
        write_text(partial / "README.md", model_card(facts))
        manifest = _manifest(partial, trained)
        seal_folder(output, manifest)
    except BaseException:
        remove_folder(partial)
        raise
    logger.info("%s holds %s", output, format_bytes(manifest.total_bytes))
    return {
        "folder": str(output),
        "bytes": manifest.total_bytes,
        "files": sorted(manifest.files),
        "weight_type": found_type,
    }


def _refuse_foreign(output: Path, source: Path) -> None:
    """An export replaces an older export, never anything else."""
    if output.resolve() == source.resolve():
        raise ConfigError(f"--output {output} is the model itself; name another folder")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    try:
        is_export = EXPORTED in read_manifest(output).facts
    except CheckpointCorrupt:
        is_export = False
    if not is_export:
        raise ConfigError(
            f"--output {output} exists and is no exported model; name a folder that does not exist"
        )


def _write_weights(
    folder: Path, trained: TrainedModel, weight_type: WeightType | None, shard_bytes: int
) -> str:
    """Writes all weights; returns the type that most of their bytes have."""
    from src.models.factory import stored_weights

    weights = stored_weights(str(trained.folder))
    if weight_type is not None:
        weights = _converted(weights, weight_type)
    shards = list(_shards(weights, shard_bytes))
    names = {}
    for number, shard in enumerate(shards, start=1):
        name = (
            WEIGHTS_FILE
            if len(shards) == 1
            else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        )
        with HashingFile(folder / name) as file:
            write_safetensors(file, shard)
        names.update(dict.fromkeys(shard, name))
    if len(shards) > 1:
        total = sum(tensor.data.nbytes for tensor in weights.values())
        index = {"metadata": {"total_size": total}, "weight_map": names}
        write_text(folder / WEIGHTS_INDEX_FILE, json.dumps(index, indent=2) + "\n")
    return _most_common_type(weights)


def _converted(weights: Mapping[str, HostTensor], weight_type: WeightType) -> dict[str, HostTensor]:
    from src.models.layout import from_float32, to_float32

    wanted = _SAFETENSORS_TYPES[weight_type]
    return {
        name: tensor
        if tensor.dtype == wanted
        else from_float32(to_float32(tensor).astype("float32", copy=False), wanted)
        for name, tensor in weights.items()
    }


def _shards(weights: Mapping[str, HostTensor], shard_bytes: int) -> Iterator[dict[str, HostTensor]]:
    """Weights in name order, cut where a file would grow too large."""
    shard: dict[str, HostTensor] = {}
    filled = 0
    for name, tensor in sorted(weights.items()):
        if shard and filled + tensor.data.nbytes > shard_bytes:
            yield shard
            shard, filled = {}, 0
        shard[name] = tensor
        filled += tensor.data.nbytes
    yield shard


def _most_common_type(weights: Mapping[str, HostTensor]) -> str:
    sizes: dict[str, int] = {}
    for tensor in weights.values():
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.data.nbytes
    largest = max(sizes, key=lambda dtype: sizes[dtype])
    return next(name for name, dtype in _SAFETENSORS_TYPES.items() if dtype == largest)


def _write_settings(folder: Path, trained: TrainedModel, weight_type: str) -> None:
    """Model and generation configuration, the tokenizer, the configuration of the training."""
    tokenizer = trained.tokenizer
    config = read_json(trained.folder / CONFIG_FILE)
    settings = trained.settings
    config["torch_dtype"] = weight_type
    config["eos_token_id"] = tokenizer.eos_id
    config["linguabridge"] = {
        "prompt": settings.prompt,
        "language_pairs": list(settings.directions),
        "max_seq_length": settings.max_length,
    }
    generation = {
        "do_sample": False,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
        "max_new_tokens": min(_GENERATION_TOKENS, settings.max_length),
    }
    for name, content in ((CONFIG_FILE, config), ("generation_config.json", generation)):
        write_text(folder / name, json.dumps(content, indent=2) + "\n")
    tokenizer.save(folder)
    _set_chat_template(folder / "tokenizer_config.json", settings.prompt)
    training = trained.folder / "config.yaml"
    if training.is_file():
        write_text(folder / training.name, training.read_text(encoding="utf-8"))


# As the model was trained: Qwen's turns, and no system turn, which Qwen's own template adds.
_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def _set_chat_template(path: Path, prompt: str) -> None:
    """Gives the tokenizer the template the model was trained with, or none where it has no chat."""
    content = read_json(path)
    content.pop("chat_template", None)
    if prompt == "chatml":
        content["chat_template"] = _CHAT_TEMPLATE
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")


def _manifest(folder: Path, trained: TrainedModel) -> Manifest:
    """Of all files in the prepared folder, each on the disk by then."""
    files = {}
    for path in sorted(folder.iterdir()):
        flush_to_disk(path)
        files[path.name] = hash_file(path)
    step, parent = 0, None
    if (trained.folder / MANIFEST_NAME).is_file():
        source = read_manifest(trained.folder)
        step, parent = source.step, trained.folder.name
    return Manifest(step, parent, {EXPORTED: trained.folder.name}, files)
