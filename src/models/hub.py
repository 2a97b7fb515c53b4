"""Where a model's files are, and which sizes are known by name.

A model is a local folder in Hugging Face layout (`config.json` and safetensors weights); every
folder this project writes is one, so teacher, student and downloads are read by the same code.
Anything that is not a folder is a name for PaddleNLP's own download, which needs a network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from src.errors import ModelError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX_FILE = "model.safetensors.index.json"


def find_model_folder(name: str) -> Path | None:
    """The local folder behind `name`, or None when it is a name to download.

    Raises:
        ModelError: If it is meant as a folder and lacks a file that a model needs.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        looks_like_path = name.startswith((".", "/", "~")) or name.count("/") != 1
        if looks_like_path:
            raise ModelError(
                f"model folder {name} does not exist; give a folder in Hugging Face layout "
                "(config.json, model.safetensors, tokenizer.json)"
            )
        return None
    if not (folder / CONFIG_FILE).is_file():
        raise ModelError(f"model folder {folder} has no {CONFIG_FILE}")
    weight_files(folder)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, in name order.

    Raises:
        ModelError: If there are none, or one that the index names is missing.
    """
    index = folder / WEIGHTS_INDEX_FILE
    if index.is_file():
        names = sorted(set(read_json(index)["weight_map"].values()))
    elif (folder / WEIGHTS_FILE).is_file():
        names = [WEIGHTS_FILE]
    else:
        raise ModelError(
            f"model folder {folder} has no weights ({WEIGHTS_FILE} or {WEIGHTS_INDEX_FILE}); "
            "copy them there or name another folder"
        )
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"model folder {folder} lacks {', '.join(missing)}; copy it there")
    return [folder / name for name in names]


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        ModelError: If the file is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds {type(content).__name__}, not an object")
    return content
