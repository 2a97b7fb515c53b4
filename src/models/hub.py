"""Where a model's files are, and what they are known by.

A model is a local folder in Hugging Face layout (`config.json` and safetensors weights); every
folder this project writes is one, so teacher, student and downloads are read by the same code. A
folder may hold an adapter instead of weights (`adapter.safetensors`, `adapter.json`), which
names the model it was trained on. Anything that is not a folder is a name for PaddleNLP's own
download, which needs a network.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from src.checkpoint.format import HostTensor, read_tensors
from src.errors import ModelError
from src.files import expand_home
from src.schema import TrainerConfig

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX_FILE = "model.safetensors.index.json"
ADAPTER_FILE = "adapter.safetensors"
ADAPTER_CONFIG_FILE = "adapter.json"

_SAMPLED_BYTES = 4096


def find_model_folder(name: str) -> Path | None:
    """The local folder behind `name`, or None when it is a name to download.

    Raises:
        ModelError: If it is meant as a folder and lacks a file that a model needs.
    """
    folder = expand_home(name)
    if not folder.is_dir():
        looks_like_path = name.startswith((".", "/", "~")) or name.count("/") != 1
        if looks_like_path:
            fault = "is a file" if folder.is_file() else "does not exist"
            raise ModelError(
                f"model folder {name} {fault}; give a folder in Hugging Face layout "
                "(config.json, model.safetensors, tokenizer.json)"
            )
        return None
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"model folder {folder} has no {CONFIG_FILE}")
    weight_files(folder)
    return folder


def is_adapter(folder: Path) -> bool:
    """Whether the folder's weights are an adapter and those of another model."""
    has_weights = (folder / WEIGHTS_INDEX_FILE).is_file() or (folder / WEIGHTS_FILE).is_file()
    return not has_weights and (folder / ADAPTER_FILE).is_file()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that a folder's model is made of, in name order.

    Those of an adapter are its own, then its base model's where that is a folder.

    Raises:
        ModelError: If there are none, or one that the index names is missing.
    """
    index = folder / WEIGHTS_INDEX_FILE
    if index.is_file():
        names = _indexed_files(index)
    elif (folder / WEIGHTS_FILE).is_file():
        names = [WEIGHTS_FILE]
    elif is_adapter(folder):
        base = find_model_folder(adapter_base(folder))
        return [folder / ADAPTER_FILE, *(weight_files(base) if base else [])]
    else:
        raise ModelError(
            f"model folder {folder} has no weights ({WEIGHTS_FILE}, {WEIGHTS_INDEX_FILE} or "
            f"{ADAPTER_FILE}); copy them there or name another folder"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"model folder {folder} lacks {', '.join(missing)}; copy it there")
    return [folder / name for name in names]


def adapter_base(folder: Path) -> str:
    """The folder or name of the model that an adapter was trained on.

    Raises:
        ModelError: If the adapter's description is missing or does not say.
    """
    path = folder / ADAPTER_CONFIG_FILE
    if not path.is_file():
        raise ModelError(
            f"model folder {folder} has {ADAPTER_FILE} without {ADAPTER_CONFIG_FILE}; copy it there"
        )
    base = read_json(path).get("base_model_name_or_path")
    if not isinstance(base, str):
        raise ModelError(f"{path} does not name its base model (base_model_name_or_path={base!r})")
    return base


def model_fingerprint(name: str) -> str:
    """Names the content of a model without reading all of it.

    Covers the configuration, and of every tensor its name, type, shape and the bytes at both ends:
    two models of one shape, e.g. a base model and its instruction-tuned sister, differ in it.

    Args:
        name: Folder, or a name to download, which stands for itself.

    Raises:
        ModelError, CheckpointCorrupt: If the folder cannot be read.
    """
    folder = find_model_folder(name)
    if folder is None:
        return name
    digest = hashlib.sha256()
    settings = read_json(folder / CONFIG_FILE)
    digest.update(json.dumps(settings, sort_keys=True).encode())
    tensors: dict[str, HostTensor] = {}
    for path in weight_files(folder):
        tensors.update(read_tensors(path))
    for tensor_name, tensor in sorted(tensors.items()):
        digest.update(f"{tensor_name} {tensor.dtype} {tensor.shape}".encode())
        flat = tensor.data.reshape(-1)
        count = _SAMPLED_BYTES // flat.itemsize
        digest.update(flat[:count].tobytes() + flat[-count:].tobytes())
    return digest.hexdigest()


def start_fingerprint(section: TrainerConfig) -> str:
    """Names the weights a training starts from: an architecture's own random ones, or a model's.

    Raises:
        ModelError, CheckpointCorrupt: If the folder cannot be read.
    """
    if section.architecture is None:
        return model_fingerprint(section.model_name)
    sizes = section.architecture.model_dump_json()
    return hashlib.sha256(sizes.encode()).hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ModelError: If the file is not one, or cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # malformed, or not UTF-8
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds {type(content).__name__}, not an object")
    return content


def _indexed_files(index: Path) -> list[str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise ModelError(f"{index} has no weight_map of tensor names to file names; copy it again")
    return sorted(set(weight_map.values()))
