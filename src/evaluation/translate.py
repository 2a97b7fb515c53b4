"""The command translate: texts of the command line, or lines of stdin, to lines of stdout.

Nothing but translations goes to stdout, one line for each line given and in the same order, so
that the command can stand in a pipe. Input is worked through in blocks: memory stays bounded, and
what is translated is printed although more is to come.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from src.errors import EXIT_DONE, DataError
from src.evaluation.translation import Translation
from src.evaluation.translator import Translator, model_folder
from src.schema import Config

__all__ = ["Translator", "translate_command"]

logger = logging.getLogger(__name__)

# Lines of stdin read, translated and printed together: enough to form full batches of one length.
_BLOCK_LINES = 2048
# Lines that are named in warnings; a model that loses more is told about by number.
_NAMED_LINES = 20


def translate_command(
    config: Config,
    texts: Sequence[str],
    *,
    model: str | None,
    direction: str | None,
    beam_size: int,
    as_json: bool,
    source_file: Path | None = None,
) -> int:
    """`run.py translate`: one line on stdout for each line given.

    Args:
        config: Sizes, and where the student is.
        texts: What to translate; empty reads the lines of stdin.
        model: Model folder. None: the trained student.
        direction: None: by script.
        beam_size: 1 is greedy search.
        as_json: One JSON object with all sources and translations instead of lines.
        source_file: Its lines are translated, where no texts are given.

    Returns:
        Exit code 0.
    """
    translator = Translator(
        model_folder(config, model),
        batch_size=config.evaluation.batch_size,
        max_new_tokens=config.evaluation.max_new_tokens,
        beam_size=beam_size,
        preserve=config.evaluation.preserve,
        config=config,
    )
    records: list[dict[str, object]] = []
    log = _WarningLog()
    for block in _blocks(texts, source_file):
        translations = translator.translate_checked(block, direction=direction)
        if as_json:
            records += [
                {
                    "direction": direction or translator.direction_of(text),
                    "source": text,
                    "translation": translation.text,
                    "warnings": list(translation.warnings),
                }
                for text, translation in zip(block, translations, strict=True)
            ]
        else:
            sys.stdout.write("".join(f"{translation.text}\n" for translation in translations))
            sys.stdout.flush()
            log.tell(translations)
    log.end()
    if as_json:
        result = {"model": str(translator.folder), "translations": records}
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    return EXIT_DONE


class _WarningLog:
    """Says which lines lost something: the first ones by name, the others by number."""

    def __init__(self) -> None:
        self._lines = self._warned = 0

    def tell(self, translations: Sequence[Translation]) -> None:
        """Counts the lines of a block on."""
        for translation in translations:
            self._lines += 1
            self._warned += bool(translation.warnings)
            if translation.warnings and self._warned <= _NAMED_LINES:
                logger.warning("line %d: %s", self._lines, "; ".join(translation.warnings))

    def end(self) -> None:
        """Says how many were not named."""
        if self._warned > _NAMED_LINES:
            logger.warning(
                "%d of %d lines lost something, as told of the first %d; --json tells of all",
                self._warned, self._lines, _NAMED_LINES,
            )  # fmt: skip


def _blocks(texts: Sequence[str], source_file: Path | None) -> Iterator[list[str]]:
    """The texts, or else the lines of the file or stdin, some at a time; typed lines singly."""
    if texts:
        yield list(texts)
        return
    if source_file is not None:
        try:
            file = source_file.open("rb")
        except OSError as error:
            raise DataError(f"{source_file} cannot be read: {error.strerror}") from error
        with file:
            yield from _line_blocks(file, _BLOCK_LINES)
        return
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        logger.info("type one text a line; Ctrl-D ends")
    yield from _line_blocks(sys.stdin.buffer, 1 if is_terminal else _BLOCK_LINES)


def _line_blocks(file: Iterable[bytes], size: int) -> Iterator[list[str]]:
    lines = _decoded(file)
    done = 0
    while block := list(islice(lines, size)):
        yield block
        done += len(block)
        if done > len(block):
            logger.info("%d lines translated", done)


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        yield _decode_line(number, line).removesuffix("\n")


def _decode_line(number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"line {number} of the input is not UTF-8 ({error.reason} at byte {error.start + 1} of "
            "the line); convert it first, e.g. with iconv -f gbk -t utf-8"
        ) from error
