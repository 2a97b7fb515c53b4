"""Every error LinguaBridge raises on purpose, and the exit code each one means.

    LinguaBridgeError                    1   something failed while running
    ├── ConfigError                      2   the configuration or the command line is wrong
    ├── DataError                        1   an input cannot be used
    │   └── CacheMismatch                1   a token cache belongs to another text or tokenizer
    ├── WorkerLost                       1   a worker process died in the middle of its work
    ├── ModelError                       1   a model or tokenizer folder cannot be used
    ├── CheckpointError                  1   a checkpoint cannot be written
    │   ├── CheckpointNotFound           1   nothing to resume from where one was demanded
    │   ├── CheckpointCorrupt            1   bytes differ from what the manifest promises
    │   └── StoreError                   1   a checkpoint store refuses, or cannot be reached
    ├── CloudError                       1   the cloud refuses a request or cannot be reached
    ├── TrainingDiverged                 1   the loss stopped being a number
    └── Interrupted                     75   stopped on request, state saved: start me again

The message is for the person at the terminal: what is wrong, the value, what to do. Fields
carry the same facts for code that reacts to them.
"""

from __future__ import annotations

from pathlib import Path

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 75
EXIT_KILLED_BY_USER = 130


class LinguaBridgeError(Exception):
    """Base of all errors that are shown to the user as one sentence."""

    exit_code = EXIT_FAILED


class ConfigError(LinguaBridgeError):
    """The configuration cannot be used; lists every problem found, not only the first.

    Attributes:
        problems: One line per problem, each naming key, value and remedy.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join([message, *(f"  {problem}" for problem in problems)]))
        self.problems = problems


class DataError(LinguaBridgeError):
    """An input file or folder cannot be used as data."""


class CacheMismatch(DataError):
    """A token cache was made from another text or with another tokenizer."""


class WorkerLost(LinguaBridgeError):
    """A worker process died, so its part of the work is missing.

    Attributes:
        task: What it was working on.
        exit_code_of_worker: Its exit code; minus the signal number when a signal ended it; None
            where the engine does not say.
    """

    def __init__(self, task: str, process_id: int | None, exit_code_of_worker: int | None) -> None:
        who = "a worker process" if process_id is None else f"worker process {process_id}"
        how = "was lost"
        if exit_code_of_worker is not None:
            code = exit_code_of_worker
            how = f"was ended by signal {-code}" if code < 0 else f"was ended by exit code {code}"
        super().__init__(
            f"{who} {how} while working on {task}; often memory ran out: lower data.num_workers or "
            "data.chunk_size and run again, finished work is kept"
        )
        self.task = task
        self.exit_code_of_worker = exit_code_of_worker


class ModelError(LinguaBridgeError):
    """A model or tokenizer folder cannot be used."""


class CheckpointError(LinguaBridgeError):
    """A checkpoint cannot be written or used."""


class CheckpointNotFound(CheckpointError):
    """No usable checkpoint where the configuration demands one."""


class CheckpointCorrupt(CheckpointError):
    """A checkpoint's bytes are not what its manifest promises.

    Attributes:
        path: Folder of the checkpoint, or its address in a store.
        reason: What differs, with the expected and the found value.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class StoreError(CheckpointError):
    """A checkpoint store refuses a request or cannot be reached; never quotes credentials.

    Attributes:
        reason: What happened, in plain words.
        remedy: What to do about it.
        is_temporary: Whether the same request may succeed later without anybody doing anything.
    """

    def __init__(self, reason: str, remedy: str, *, is_temporary: bool = False) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy
        self.is_temporary = is_temporary


class CloudError(LinguaBridgeError):
    """A request to the cloud failed; never quotes credentials.

    Attributes:
        reason: What the cloud said, in plain words.
        remedy: What to do about it.
        code: The cloud's or its SDK's error code; empty when there was none.
    """

    def __init__(self, reason: str, remedy: str, code: str = "") -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy
        self.code = code


class TrainingDiverged(LinguaBridgeError):
    """The loss or the gradients stopped being finite numbers.

    Attributes:
        step: Optimizer step at which it happened.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class Interrupted(LinguaBridgeError):
    """Training was asked to stop and saved its state first.

    Attributes:
        reason: Who asked, e.g. "SIGTERM".
        step: Optimizer step of the saved checkpoint.
        path: Folder of that checkpoint.
    """

    exit_code = EXIT_INTERRUPTED

    def __init__(self, reason: str, step: int, path: Path) -> None:
        super().__init__(
            f"stopped by {reason} at step {step}; saved {path}. "
            "Run the same command again to continue."
        )
        self.reason = reason
        self.step = step
        self.path = path
