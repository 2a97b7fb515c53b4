"""The tuned teacher as an ingredient: found, checked and named before it is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from src.errors import ModelError
from src.models.factory import Model, load_model, require_vocabulary
from src.models.hub import weight_files
from src.schema import Config
from src.tokens.tokenizer import Tokenizer, load_tokenizer

_READ_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Teacher:
    """A teacher's folder that fits the student's tokenizer.

    Attributes:
        folder: Where it is.
        sha256: Hash of its weight files.
        vocab_size: Ids of the shared tokenizer.
    """

    folder: Path
    sha256: str
    vocab_size: int

    def load(self) -> Model:
        """Reads the model."""
        model = load_model(str(self.folder))
        require_vocabulary(model, vocab_size=self.vocab_size, name=str(self.folder))
        return model


def find_teacher(config: Config, tokenizer: Tokenizer) -> Teacher:
    """The teacher that the student's section names.

    Raises:
        ModelError: If the folder is missing, incomplete, or was made with another tokenizer.
    """
    folder = Path(config.student.teacher or Path(config.teacher.output_dir) / "final")
    if not folder.is_dir():
        raise ModelError(
            f"no teacher in {folder}; run `python run.py teacher` first, name a folder with "
            "student.teacher=…, or train without one: student.kd_mode=none"
        )
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    theirs = load_tokenizer(str(folder)).fingerprint
    if theirs != tokenizer.fingerprint:
        raise ModelError(
            f"teacher {folder} has another tokenizer ({theirs[:12]}) than the token cache "
            f"({tokenizer.fingerprint[:12]}); distillation compares tokens one by one, so both "
            "must be the same"
        )
    return Teacher(folder, digest.hexdigest(), tokenizer.vocab_size)
