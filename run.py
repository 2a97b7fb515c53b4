"""LinguaBridge from the command line: `python run.py --help`."""

import sys

from src.cli import main
from src.launch import leave

if __name__ == "__main__":
    leave(main(sys.argv[1:]))
