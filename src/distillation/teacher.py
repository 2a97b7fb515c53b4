"""The tuned teacher as an ingredient: found, checked and named before it is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from src.distillation.shards import hash_files
from src.errors import ModelError
from src.models.factory import FloatType, Model, load_model, require_vocabulary
from src.models.hub import CONFIG_FILE, read_json, weight_files
from src.models.memory import require_room
from src.schema import Config, StudentConfig
from src.tokens.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class Teacher:
    """A teacher's folder that fits the student's tokenizer and prompt.

    Attributes:
        folder: Where it is.
        sha256: Hash of its weight files.
        vocab_size: Ids of the shared tokenizer.
        dtype: Type of its weights in memory.
    """

    folder: Path
    sha256: str
    vocab_size: int
    dtype: FloatType

    def load(self) -> Model:
        """Reads the model, in evaluation mode and frozen.

        Raises:
            ModelError: If it does not fit in memory, or is damaged.
        """
        require_room(
            self.folder,
            dtype=self.dtype,
            advice="run `python run.py soft-labels` on a machine where it fits and train with "
            "student.kd_mode=cached, or, on a GPU, set student.bf16=true",
        )
        model = load_model(str(self.folder), dtype=self.dtype)
        require_vocabulary(model, vocab_size=self.vocab_size, name=str(self.folder))
        model.eval()
        for parameter in model.parameters():
            parameter.stop_gradient = True
        return model


def teacher_folder(config: Config) -> Path:
    """Where the student's section says that the teacher is."""
    return Path(config.student.teacher or Path(config.teacher.output_dir) / "final")


def find_teacher(config: Config, tokenizer: Tokenizer) -> Teacher:
    """The teacher that the student's section names.

    Raises:
        ModelError: If the folder is missing, incomplete, or was made with another tokenizer or
            prompt.
    """
    folder = teacher_folder(config)
    if not folder.is_dir():
        raise ModelError(
            f"no teacher in {folder}; run `python run.py teacher` first, name a folder with "
            "student.teacher=…, or train without one: student.kd_mode=none"
        )
    final = folder / "final"
    if not (folder / CONFIG_FILE).is_file() and (final / CONFIG_FILE).is_file():
        raise ModelError(
            f"teacher {folder} is the folder of a run; its model is in {final}: set "
            f"student.teacher={final}"
        )
    digest = teacher_sha256(folder)
    theirs = load_tokenizer(str(folder)).fingerprint
    if theirs != tokenizer.fingerprint:
        raise ModelError(
            f"teacher {folder} has another tokenizer ({theirs[:12]}) than the token cache "
            f"({tokenizer.fingerprint[:12]}); distillation compares tokens one by one, so both "
            "must be the same"
        )
    prompt = read_json(folder / CONFIG_FILE).get("linguabridge", {}).get("prompt")
    if prompt not in (None, config.student.prompt):
        raise ModelError(
            f"teacher {folder} was tuned with prompt={prompt} and student.prompt is "
            f"{config.student.prompt}, which it does not understand; set student.prompt={prompt}"
        )
    return Teacher(folder, digest, tokenizer.vocab_size, _dtype(config.student))


def teacher_sha256(folder: Path) -> str:
    """Hash of the weight files of a model folder."""
    return hash_files(weight_files(folder))


def _dtype(section: StudentConfig) -> FloatType:
    """A frozen model needs no float32: it has the student's number format from the start."""
    return "float16" if section.fp16 else "bfloat16" if section.bf16 else "float32"
