"""The secrets of alert channels on their way to the training on an instance.

Neither the start script nor the configuration of a run may hold one: whoever may look at the
account can read both. So who starts the run puts them into its place in the bucket, as an object
that only the bucket's owner and the RAM role of the instances may read, whatever the bucket allows
others. The worker writes each into a file that only its user may read, and hands the training the
file's path as NAME_FILE: no environment, log or list of processes ever holds a secret. The files go
with the training, the object goes with the run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from src.cloud.run_state import ALERT_SECRETS, RunState
from src.monitoring.alerts.channels import secret_variables
from src.schema import AlertsConfig
from src.secret import FILE_SUFFIX, read_secret

# What the controller tells of a run that it keeps alive: its training is silent about these.
TOLD_BY_CONTROLLER = ("started", "resumed", "notice", "budget", "finished", "failed")
_FOLDER = "secrets"


def hand_over_secrets(state: RunState, config: AlertsConfig) -> None:
    """Puts the secrets of every configured channel where the instances of the run find them.

    Raises:
        ConfigError: One is missing here.
    """
    secrets = {name: read_secret(name).reveal() for name in secret_variables(config)}
    if not secrets:
        take_back_secrets(state)  # of channels that were configured before
        return
    content = json.dumps(secrets, ensure_ascii=False).encode("utf-8")
    state.objects.put_private(state.key(ALERT_SECRETS), content)


def fetch_secrets(state: RunState) -> dict[str, str]:
    """Environment variable → secret, as they were handed over."""
    content = state.objects.get(state.key(ALERT_SECRETS))
    secrets: dict[str, str] = json.loads(content) if content else {}
    return secrets


def take_back_secrets(state: RunState) -> None:
    """Removes them, if there are any."""
    state.objects.delete(state.key(ALERT_SECRETS))


def for_instances(config: AlertsConfig, run: str, *, is_kept: bool) -> AlertsConfig:
    """The section as the training on an instance gets it, so that each event is told once.

    Args:
        config: The section `alerts`.
        run: Name of the run, under which both speak.
        is_kept: Whether a controller keeps the run alive, and tells of it.
    """
    kinds = [kind for kind in config.kinds if not (is_kept and kind in TOLD_BY_CONTROLLER)]
    return config.model_copy(update={"kinds": tuple(kinds), "run_name": config.run_name or run})


@contextmanager
def received(secrets: Mapping[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """Writes each secret into a file of its own while the block runs.

    Args:
        secrets: Environment variable → secret.
        folder: Of the run on this machine.

    Yields:
        What the environment of the training gets: NAME_FILE → path.
    """
    place = folder.resolve() / _FOLDER
    shutil.rmtree(place, ignore_errors=True)  # of a worker that was killed
    if not secrets:
        yield {}
        return
    place.mkdir(mode=0o700)
    try:
        for name, secret in secrets.items():
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(secret)
        yield {f"{name}{FILE_SUFFIX}": str(place / name) for name in secrets}
    finally:
        shutil.rmtree(place, ignore_errors=True)
