"""Instances with a body: a local process group that runs the start script of the instance.

Each has a folder of its own, a metadata service of its own in hardened mode, and a PATH on which
`nvidia-smi` lists a GPU and `shutdown` ends the whole group, as it would the machine.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tests.fakes.ecs_world import Instance, Machines
from tests.fakes.metadata_service import MetadataService, metadata_service

ROLE_KEY, ROLE_SECRET = "STS.fake", "fake-role-secret"
_TOOLS = {
    "nvidia-smi": '#!/bin/sh\necho "GPU 0: NVIDIA A10 (UUID: GPU-fake)"\n',
    "shutdown": "#!/bin/sh\nkill -KILL 0\n",
}


@dataclass
class Body:
    process: subprocess.Popen[bytes]
    metadata: MetadataService
    folder: Path


class LocalMachines(Machines):
    """Bodies of instances.

    Args:
        folder: Where each gets its own.
        environment: Added to the environment of each.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.bodies: dict[str, Body] = {}
        self._environment = environment
        self._stack = ExitStack()
        self._lock = threading.Lock()
        tools = folder / "tools"
        tools.mkdir(parents=True)
        for name, text in _TOOLS.items():
            (tools / name).write_text(text, encoding="utf-8")
            (tools / name).chmod(0o755)

    def start(self, instance: Instance) -> None:
        root = self.folder / instance.instance_id
        root.mkdir()
        script = root / "user-data.sh"
        script.write_bytes(base64.b64decode(instance.parameters["UserData"]))
        with self._lock:
            metadata = self._stack.enter_context(metadata_service(is_hardened=True))
        role = instance.parameters.get("RamRoleName")
        if role:
            metadata.items[f"ram/security-credentials/{role}"] = json.dumps(
                {
                    "AccessKeyId": ROLE_KEY,
                    "AccessKeySecret": ROLE_SECRET,
                    "SecurityToken": "CAIS-fake",
                    "Expiration": "2099-01-01T00:00:00Z",
                    "Code": "Success",
                }
            )
        environment = {
            "PATH": f"{self.folder / 'tools'}:{os.environ['PATH']}",
            "HOME": str(root),
            "LINGUABRIDGE_ROOT": str(root / "linguabridge"),
            "LINGUABRIDGE_METADATA_URL": metadata.url,
            **self._environment,
        }
        output = (root / "console.log").open("wb")
        with output:
            process = subprocess.Popen(
                ["/bin/bash", str(script)],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.bodies[instance.instance_id] = Body(process, metadata, root)

    def give_notice(self, instance: Instance, release_at: float) -> None:
        moment = datetime.fromtimestamp(release_at, timezone.utc)
        self.bodies[instance.instance_id].metadata.announce_release(moment)

    def stop(self, instance: Instance) -> None:
        _kill(self.bodies[instance.instance_id].process)

    def is_off(self, instance: Instance) -> bool:
        return self.bodies[instance.instance_id].process.poll() is not None

    def close(self) -> None:
        """Ends whatever still runs."""
        for body in self.bodies.values():
            _kill(body.process)
        self._stack.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # its children outlive a process that has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
