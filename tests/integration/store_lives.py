"""Processes that save and upload until they are killed; started by test_store_kills.py.

    python -m tests.integration.store_lives ADDRESS

Reads one folder a line and forks a life in it, so that Python and the SDKs start only once. The
life's process id goes out at once, and it begins when "go" comes in: whoever asked kills it by its
requests. With "at K" instead of "go" it kills itself at its K-th change of the disk. In the end
comes the last step that it knew to be in the store, and whether it ended well.

A life resumes, saves twice, and waits for the upload each time. The second save is the best so
far, and the store makes it from what it has.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from src.checkpoint.manager import CheckpointManager
from src.checkpoint.stores.open import open_store
from tests.fakes.checkpoint_content import FACTS, documents_of, tensors_of
from tests.fakes.store_services import SMALL
from tests.integration.checkpoint_lives import Actions

SAVES = 2
ELEMENTS = 48_000  # in two files of two parts
_REPORT = os.write  # before a life tears its writes apart
LIBRARIES = {"oss": "oss2", "s3": "s3fs", "hf": "huggingface_hub.hf_api", "file": "json"}


def live(folder: Path, address: str, progress: int) -> None:
    store = open_store(address, SMALL)
    with CheckpointManager(folder, keep_last=1, store=store) as manager:
        found = manager.find_resume("auto")
        first = found.manifest.step + 1 if found else 1
        for step in range(first, first + SAVES):
            manager.save(
                step,
                tensors=tensors_of(step, elements=ELEMENTS),
                documents=documents_of(step),
                facts=FACTS,
                is_best=step == first + SAVES - 1,
                blocking=True,
            )
            _REPORT(progress, f"{step:08d}".encode())


def observe(folder: Path, address: str) -> None:
    readable, writable = os.pipe()
    starts, starter = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        os.close(starter)
        request = os.read(starts, 20).decode().split()
        if request[0] == "at":
            Actions(lambda sign: None, int(request[1]))
        live(folder, address, writable)
        os._exit(0)
    os.close(writable)
    os.close(starts)
    print(json.dumps({"process": child}), flush=True)  # noqa: T201
    os.write(starter, sys.stdin.readline().encode())
    os.close(starter)
    steps = b""
    while step := os.read(readable, 8):
        steps += step
    os.close(readable)
    _, status = os.waitpid(child, 0)
    result = {"uploaded": int(steps[-8:] or b"0"), "ended": os.waitstatus_to_exitcode(status) == 0}
    print(json.dumps(result), flush=True)  # noqa: T201


def main() -> None:
    address = sys.argv[1]
    importlib.import_module(LIBRARIES[address.partition(":")[0]])
    for folder in iter(sys.stdin.readline, ""):
        observe(Path(folder.strip()), address)


if __name__ == "__main__":
    main()
