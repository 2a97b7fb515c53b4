"""Writing an array to a file such that a full disk stays recognisable.

NumPy writes through C's buffered files and forgets why a write failed: its error carries no number,
and "no space left" could not be told from a broken disk.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_array(path: Path, array: NDArray[np.generic]) -> None:
    """Writes a `.npy` file; its bytes are held twice for a moment.

    Raises:
        OSError: If the disk refuses, with the number that says why.
    """
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())
