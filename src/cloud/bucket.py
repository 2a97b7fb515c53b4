"""One object in or out of the bucket, with Python alone; goes along in the start script.

python3 bucket.py get|put KEY FILE
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import shutil
import sys
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib import error, parse, request

METADATA = os.environ.get("LINGUABRIDGE_METADATA_URL", "http://100.100.100.200")
ATTEMPTS = 8
# No proxy: it would ask the metadata of its own machine.
_open = request.build_opener(request.ProxyHandler({})).open


def ask_metadata(role: str) -> Any:
    """Temporary keys of the instance's role."""
    age = {"X-aliyun-ecs-metadata-token-ttl-seconds": "300"}
    asked = request.Request(f"{METADATA}/latest/api/token", headers=age, method="PUT")  # noqa: S310
    header = {"X-aliyun-ecs-metadata-token": _open(asked, timeout=5).read().decode().strip()}
    url = f"{METADATA}/latest/meta-data/ram/security-credentials/{role}"
    return json.load(_open(request.Request(url, headers=header), timeout=5))  # noqa: S310


def sign(method: str, resource: str, keys: dict[str, str]) -> dict[str, str]:
    """Headers of a request with OSS's signature version 1."""
    date, kind, token = formatdate(usegmt=True), "application/octet-stream", keys["SecurityToken"]
    text = "\n".join([method, "", kind, date, f"x-oss-security-token:{token}", resource])
    digest = hmac.new(keys["AccessKeySecret"].encode(), text.encode(), hashlib.sha1).digest()
    return {
        "Date": date,
        "Content-Type": kind,
        "x-oss-security-token": token,
        "Authorization": f"OSS {keys['AccessKeyId']}:{base64.b64encode(digest).decode()}",
    }


def transfer(action: str, key: str, path: Path, settings: dict[str, Any]) -> None:
    """Moves one object."""
    if settings["bucket"].startswith("file://"):
        there = Path(settings["bucket"][7:], key)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(*((there, path) if action == "get" else (path, there)))
        return
    bucket, _, prefix = settings["bucket"][6:].partition("/")
    key = f"{prefix}/{key}" if prefix else key
    scheme, _, host = settings["oss_endpoint"].partition("://")
    # The bucket is a name before the host, but for an address that can have none.
    is_number = host.partition(":")[0].replace(".", "").isdigit()
    place = f"{host}/{bucket}" if is_number else f"{bucket}.{host}"
    method, data = ("GET", None) if action == "get" else ("PUT", path.read_bytes())
    headers = sign(method, f"/{bucket}/{key}", ask_metadata(settings["ram_role"]))
    url = f"{scheme}://{place}/{parse.quote(key)}"
    asked = request.Request(url, data, headers, method=method)  # noqa: S310
    with _open(asked, timeout=60) as answer:
        content = answer.read()
    if action == "get":
        path.write_bytes(content)


def main(action: str, key: str, file: str) -> None:
    """Tries for about a minute."""
    settings = json.loads(Path("settings.json").read_text())
    reason = ""
    for attempt in range(ATTEMPTS):
        try:
            transfer(action, key, Path(file), settings)
        except error.HTTPError as problem:
            reason = f"answers {problem.code}"
        except OSError:
            reason = "cannot be reached"
        else:
            return
        time.sleep(2**attempt / 4)
    sys.exit(f"{action} {key}: the bucket or the metadata service {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
