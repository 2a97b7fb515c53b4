"""What holds for every test: a quiet, offline environment and reproducible property tests."""

import os
import signal

import pytest
from hypothesis import settings

from src.environment import prepare_environment

# Before any test module loads Paddle, whose libraries read the environment once.
prepare_environment()
os.environ["HF_HUB_OFFLINE"] = "1"
# No test asks a real cloud with the key of whoever runs it.
for _name in ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
    os.environ.pop(_name, None)

# A script that starts the tests in the background has Ctrl-C ignored, and so had all they start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, and no limit on the time of one: a busy machine is no failure.
# `pytest --hypothesis-profile=explore` looks for new ones.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile("reproducible")


def pytest_runtest_setup(item):
    """`pytest -m gpu` says what a machine lacks, instead of failing for want of it."""
    marker = item.get_closest_marker("gpu")
    if marker is None:
        return
    import paddle

    needed = marker.args[0] if marker.args else 1
    has_cuda = paddle.device.is_compiled_with_cuda()
    found = paddle.device.cuda.device_count() if has_cuda else 0
    if found < needed:
        build = "" if has_cuda else ", and this Paddle is built without CUDA"
        pytest.skip(f"needs {needed} GPU{'s' * (needed > 1)}, this machine has {found}{build}")
