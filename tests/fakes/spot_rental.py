"""A run in a local cloud with a fast clock, for tests: shared fixtures and small helpers."""

from __future__ import annotations

import pytest

from src.cloud.controller import Clock
from src.cloud.ecs import Credentials
from src.cloud.ecs_api import EcsApi, Endpoints
from src.cloud.rental import Rental
from src.cloud.run_state import Status
from src.config import load_config
from tests.fakes.ecs_service import ecs_service
from tests.fakes.ecs_world import World
from tests.fakes.rpc_signature import KEY_ID, SECRET


@pytest.fixture
def world():
    return World(seed=3)


@pytest.fixture
def service(world):
    with ecs_service({KEY_ID: SECRET}, world) as running:
        yield running


@pytest.fixture
def rent(service, world, tmp_path):
    """Makes a Rental; its waiting puts the world's clock forward."""
    program = tmp_path / "program"
    for folder in ("src", "deploy"):
        (program / folder).mkdir(parents=True)
    for name in ("run.py", "pyproject.toml", "requirements.txt", "requirements-gpu.txt"):
        (program / name).write_text(name)

    def make(*overrides, dry_run=None):
        config = load_config(
            [],
            [
                f"cloud.bucket=file://{tmp_path}/bucket",
                "cloud.regions=[cn-hangzhou, cn-beijing]",
                *overrides,
            ],
        )
        api = EcsApi(
            lambda: Credentials(KEY_ID, SECRET),
            endpoints=Endpoints(service.url, service.url),
            sleep=world.skip,
            dry_run=dry_run,
        )
        return Rental(config, api, clock=Clock(world.now, world.skip), program=program)

    return make


def started(rental, *words):
    record = rental.begin(["teacher", *words])
    return rental.controller(record)


def actions(service):
    return [request["Action"] for request in service.requests]


def report(rental, **changes):
    number = rental.state.next_number() - 1
    rental.state.report(Status(f"{number:04d}", **changes))
