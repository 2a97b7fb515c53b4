"""Finding a tokenizer's files: a folder, or a model name that a download cache on this disk holds.

Nothing is fetched here: a training machine is often offline, and a download that starts by itself
in every rank is no help. The message says how to fetch instead.
"""

from __future__ import annotations

import os
from pathlib import Path

from src.errors import ModelError
from src.files import expand_home


def find_tokenizer_folder(folder_or_name: str) -> Path:
    """The folder that holds the files of `folder_or_name`.

    Raises:
        ModelError: If there is none, with the places that were looked at.
    """
    local = expand_home(folder_or_name)
    if local.is_dir():
        return local
    if local.is_file():
        raise ModelError(f"{folder_or_name} is a file; name the folder that holds the tokenizer")
    candidates = [local, *_cache_folders(folder_or_name)]
    for candidate in candidates[1:]:
        if (candidate / "tokenizer.json").is_file() or (candidate / "merges.txt").is_file():
            return candidate
    places = ", ".join(str(candidate) for candidate in candidates)
    raise ModelError(
        f"no tokenizer {folder_or_name} on this machine; looked at {places}. Download it with "
        f"`huggingface-cli download {_model_name(folder_or_name)} tokenizer.json "
        "tokenizer_config.json --local-dir FOLDER` and name that FOLDER"
    )


def _model_name(folder_or_name: str) -> str:
    return folder_or_name if _is_model_name(folder_or_name) else "Qwen/Qwen2.5-0.5B"


def _is_model_name(text: str) -> bool:
    parts = text.split("/")
    return len(parts) == 2 and all(part and not part.startswith((".", "~")) for part in parts)  # noqa: PLR2004


def _cache_folders(name: str) -> list[Path]:
    """Where PaddleNLP and Hugging Face keep the files of the model `name`."""
    if not _is_model_name(name):
        return []
    paddlenlp = Path(os.environ.get("PPNLP_HOME") or Path.home() / ".paddlenlp")
    hugging_face = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    snapshots = hugging_face / "hub" / f"models--{name.replace('/', '--')}" / "snapshots"
    newest_first = sorted(
        (folder for folder in snapshots.glob("*") if folder.is_dir()),
        key=lambda folder: folder.stat().st_mtime,
        reverse=True,
    )
    return [paddlenlp / "models" / name, *(newest_first or [snapshots])]
