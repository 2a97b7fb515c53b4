"""Trains on Alibaba Cloud's spot machines: `python deploy/aliyun/spot.py --help`."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from src.cloud.spot_command import main  # noqa: E402 - the path to it is set above

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
