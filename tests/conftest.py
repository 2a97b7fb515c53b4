"""What holds for every test: a quiet, offline environment and reproducible property tests."""

import os
import signal

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
