"""The start script of an instance: under 8 KB, no secret in it, no tool but bash and Python.

It gets temporary keys from the metadata service (with a token, so hardened instances work), fetches
the program from the bucket, checks its hash, and hands over to `deploy/aliyun/bootstrap.sh`. What
it knows of OSS, one GET and one PUT with signature version 1, stays behind as `bucket.py`, so that
bootstrap can report a failure before any package is installed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.errors import CloudError

MOST_BYTES = 8 * 1024
_BUCKET = Path(__file__).with_name("bucket.py")

_SCRIPT = """#!/usr/bin/env bash
set -euo pipefail
ROOT="${LINGUABRIDGE_ROOT:-/opt/linguabridge}"
mkdir -p "$ROOT"
cd "$ROOT"
cat > settings.json <<'LINGUABRIDGE_SETTINGS'
@SETTINGS@
LINGUABRIDGE_SETTINGS
cat > bucket.py <<'LINGUABRIDGE_BUCKET'
@BUCKET@
LINGUABRIDGE_BUCKET
python3 bucket.py get "@PROGRAM@" program.tar.gz
echo "@SHA256@  program.tar.gz" | sha256sum --check --quiet
mkdir -p program
tar -xzf program.tar.gz -C program
exec bash program/deploy/aliyun/bootstrap.sh >> "$ROOT/bootstrap.log" 2>&1
"""


def user_data(settings: Mapping[str, Any], *, program: str, sha256: str) -> str:
    """Base64 text for RunInstances' UserData.

    Args:
        settings: Becomes settings.json on the instance; see `src.cloud.worker.Settings`.
        program: Key of the archive in the bucket.
        sha256: Of the archive.

    Raises:
        CloudError: The script would be too long for the address of the request.
    """
    script = (
        _SCRIPT.replace("@SETTINGS@", json.dumps(settings, indent=1))
        .replace("@BUCKET@", _BUCKET.read_text(encoding="utf-8").rstrip())
        .replace("@PROGRAM@", program)
        .replace("@SHA256@", sha256)
    )
    encoded = base64.b64encode(script.encode("utf-8"))
    if len(encoded) > MOST_BYTES:
        raise CloudError(
            f"the start script has {len(encoded)} bytes, {MOST_BYTES} may be sent",
            "shorten the command after --, e.g. by moving keys into a configuration file",
        )
    return encoded.decode("ascii")
