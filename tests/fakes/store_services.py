"""The four kinds of store, each with the local server its real SDK speaks to.

A `Service` is one running server behind a faulty network, with the environment that leads the SDK
there; `store` opens a store in it that has never been used.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moto.s3 import models
from moto.server import ThreadedMotoServer

from src.checkpoint.stores.bucket import Tuning
from src.checkpoint.stores.open import open_store
from src.checkpoint.stores.store import Store
from src.retry import Retry
from tests.fakes.faulty_proxy import FaultyProxy
from tests.fakes.model_hub import ModelHub
from tests.fakes.object_storage import ObjectStorage

PART_BYTES = 128 * 1024
_LEAST_PART = "S3_UPLOAD_PART_MIN_SIZE"  # 5 MiB, too much for many small tests
SECRETS = {"oss": "canary-oss-secret", "s3": "canary-s3-secret", "hf": "hf_canaryhubtoken"}
OSS_KEY_ID = "canary-oss-key-id"
SMALL = Tuning(
    part_bytes=PART_BYTES,
    copied_bytes=2 * PART_BYTES,
    parallel_parts=2,
    retry=Retry(attempts=3, first_wait_seconds=0.0),
    connect_seconds=5.0,
    read_seconds=5.0,
)


@dataclass
class Service:
    """A kind of store and its server.

    Attributes:
        scheme: E.g. "oss".
        proxy: The network in between; None for a folder.
        environment: What leads the SDK there.
        make_address: Gives the address of an unused store.
        storage: The state of the fake, where it is ours.
    """

    scheme: str
    proxy: FaultyProxy | None
    environment: Mapping[str, str]
    make_address: Callable[[], str]
    storage: ObjectStorage | None = None
    hub: ModelHub | None = None
    address: str = field(default="")

    def store(self, address: str = "", tuning: Tuning = SMALL) -> Store:
        """Opens a store; without an address an unused one."""
        self.address = address or self.make_address()
        return open_store(self.address, tuning)


@contextmanager
def folder_service(root: Path) -> Iterator[Service]:
    numbers = itertools.count()
    (root / "drive").mkdir(exist_ok=True)
    yield Service("file", None, {}, lambda: f"file://{root}/drive/run-{next(numbers)}")


@contextmanager
def oss_service(*, bucket: str = "bucket") -> Iterator[Service]:
    numbers = itertools.count()
    storage = ObjectStorage(secrets={OSS_KEY_ID: SECRETS["oss"]})
    storage.make_bucket(bucket)
    proxy = FaultyProxy()
    with storage.serve() as server, proxy.serve(server) as address:
        environment = {
            "OSS_ENDPOINT": address,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": OSS_KEY_ID,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRETS["oss"],
        }
        yield Service(
            "oss", proxy, environment, lambda: f"oss://{bucket}/run-{next(numbers)}", storage
        )


@contextmanager
def s3_service() -> Iterator[Service]:
    numbers = itertools.count()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = FaultyProxy()
    least = vars(models)[_LEAST_PART]
    vars(models)[_LEAST_PART] = PART_BYTES
    try:
        host, port = server.get_host_and_port()
        with proxy.serve(f"http://{host}:{port}") as address:
            environment = {
                "AWS_ENDPOINT_URL_S3": address,
                "AWS_ACCESS_KEY_ID": "canary-s3-key-id",
                "AWS_SECRET_ACCESS_KEY": SECRETS["s3"],
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            storage = models.s3_backends["123456789012"]["aws"]
            storage.reset()  # it is the process's, and outlives the server
            storage.create_bucket("bucket", "us-east-1")
            yield Service("s3", proxy, environment, lambda: f"s3://bucket/run-{next(numbers)}")
    finally:
        vars(models)[_LEAST_PART] = least
        server.stop()


@contextmanager
def hub_service() -> Iterator[Service]:
    numbers = itertools.count()
    hub, proxy = ModelHub(token=SECRETS["hf"]), FaultyProxy()
    with hub.serve() as server, proxy.serve(server) as address:
        environment = {
            "HF_ENDPOINT": address,
            "HF_TOKEN": SECRETS["hf"],
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
        }
        yield Service(
            "hf", proxy, environment, lambda: f"hf://user/run-{next(numbers)}?every=1", hub=hub
        )


@contextmanager
def services(root: Path) -> Iterator[dict[str, Service]]:
    """All four, by scheme."""
    with ExitStack() as stack:
        found = [
            stack.enter_context(each)
            for each in (folder_service(root), oss_service(), s3_service(), hub_service())
        ]
        yield {each.scheme: each for each in found}


def child_environment(service: Service) -> dict[str, str]:
    """This process's environment with the way to the service."""
    return {**os.environ, **service.environment}
