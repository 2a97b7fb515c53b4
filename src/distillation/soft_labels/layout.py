"""The record of one target token: what it holds, bit for bit.

    ids          (exact + drawn) x id_bits bits, lowest bit first, filled up to whole bytes
    codes        exact bytes: how much less likely than the first each entry is
    range        uint16: log-probability of the first minus that of the last exact entry, x 1024
    tail         uint16: minus the logarithm of the probability of all other ids, x 2048
    entropy      uint16: of the whole distribution in nats, x 4096; only where tokens are drawn

All at the training temperature, in nats, little endian. A code c stands for a log-probability of
`range · (c / 255)²` below the first: steps are finest where probabilities are largest. The exact
entries are scaled to sum to one minus the tail, so that rounding moves no mass into or out of it.
Drawn tokens share the tail's probability in equal parts; one drawn twice has two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from src.tokens.columns import IntArray

METHODS = ("uniform_tail", "sampled_tail", "tail_bucket")

_CODES = 255
_RANGE_UNITS, _TAIL_UNITS, _ENTROPY_UNITS = 1024.0, 2048.0, 4096.0
_MOST = 65_535
_BYTES_PER_ID = 4  # an id of up to 25 bits touches no more bytes than these
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """Distributions of P target tokens, as they are stored.

    Attributes:
        ids: The exact ids, most likely first, then the drawn ones: `[P, exact + drawn]`.
        log_probabilities: Of the exact ids, `[P, exact]`.
        tail: Probability of all other ids, `[P]`.
        entropy: Of the whole distribution in nats, `[P]`.
    """

    ids: IntArray
    log_probabilities: FloatArray
    tail: FloatArray
    entropy: FloatArray


@dataclass(frozen=True)
class Stored:
    """Records read back, on the device.

    Attributes:
        ids: `[P, exact + drawn]`, int64.
        weights: Probability of each, `[P, exact + drawn]`; drawn ids that repeat add up.
        rest: Probability that is on no id here, `[P]`; zero where tokens were drawn.
        entropy: Of the teacher's distribution, `[P]`; zero where it is not stored.
    """

    ids: Tensor
    weights: Tensor
    rest: Tensor
    entropy: Tensor

    def take(self, rows: slice) -> Stored:
        """These positions."""
        return Stored(self.ids[rows], self.weights[rows], self.rest[rows], self.entropy[rows])


@dataclass(frozen=True)
class RecordLayout:
    """How records are written for one method, size and vocabulary.

    Attributes:
        method: One of `METHODS`.
        top_k: Entries with a probability of their own; `sampled_tail` gives half of their room
            to drawn ids.
        vocab_size: Ids of the tokenizer.
    """

    method: str
    top_k: int
    vocab_size: int

    @property
    def id_bits(self) -> int:
        """Bits of an id."""
        return max(1, (self.vocab_size - 1).bit_length())

    @property
    def exact(self) -> int:
        """Entries with a probability of their own."""
        return (self.top_k + 1) // 2 if self.method == "sampled_tail" else self.top_k

    @property
    def drawn(self) -> int:
        """Ids drawn from the tail."""
        return (self.top_k - self.exact) * (self.id_bits + 8) // self.id_bits

    @property
    def record_bytes(self) -> int:
        """Size of one record."""
        return self._ids_bytes + self.exact + (6 if self.drawn else 4)

    @property
    def _ids_bytes(self) -> int:
        return -(-(self.exact + self.drawn) * self.id_bits // 8)

    def encode(self, picture: Picture) -> NDArray[np.uint8]:
        """Records `[P, record_bytes]`."""
        steps = np.arange(self.id_bits)
        bits = (picture.ids[:, :, None] >> steps & 1).astype(np.uint8)
        ids = np.packbits(bits.reshape(len(bits), -1), axis=1, bitorder="little")
        below = picture.log_probabilities[:, :1] - picture.log_probabilities  # [P, exact]
        width = _fixed(below[:, -1], _RANGE_UNITS)
        scale = np.maximum(width, 1)[:, None] / _RANGE_UNITS
        codes = np.rint(_CODES * np.sqrt(np.minimum(below / scale, 1))).astype(np.uint8)
        with np.errstate(divide="ignore"):
            tail = _fixed(-np.log(picture.tail), _TAIL_UNITS)
        numbers = [width, tail]
        if self.drawn:
            numbers.append(_fixed(picture.entropy, _ENTROPY_UNITS))
        last = np.stack(numbers, axis=1).astype("<u2").view(np.uint8)
        return np.concatenate([ids, codes, last], axis=1)

    def decode(self, records: Tensor) -> Stored:
        """Reads records uint8 `[P, record_bytes]` on the device they are on."""
        octets = records.astype("int64")
        ids = self._read_ids(octets)
        codes = octets[:, self._ids_bytes : self._ids_bytes + self.exact].astype("float32")
        numbers = [
            (octets[:, begin] + 256 * octets[:, begin + 1]).astype("float32")
            for begin in range(self._ids_bytes + self.exact, self.record_bytes, 2)
        ]
        width, tail = numbers[0] / _RANGE_UNITS, numbers[1]
        rest = paddle.where(tail < _MOST, paddle.exp(-tail / _TAIL_UNITS), paddle.zeros_like(tail))
        weights = paddle.exp(-width.unsqueeze(-1) * (codes / _CODES) ** 2)
        weights = weights * ((1 - rest).unsqueeze(-1) / weights.sum(axis=-1, keepdim=True))
        if not self.drawn:
            return Stored(ids, weights, rest, paddle.zeros_like(rest))
        share = (rest / self.drawn).unsqueeze(-1).expand([rest.shape[0], self.drawn])
        weights = paddle.concat([weights, share], axis=1)
        return Stored(ids, weights, paddle.zeros_like(rest), numbers[2] / _ENTROPY_UNITS)

    def _read_ids(self, octets: Tensor) -> Tensor:
        first_bits = np.arange(self.exact + self.drawn) * self.id_bits
        value = paddle.zeros([octets.shape[0], len(first_bits)], dtype="int64")
        for place in range(_BYTES_PER_ID):
            # What is read beyond an id's last byte is cut off below.
            columns = np.minimum(first_bits // 8 + place, self.record_bytes - 1)
            part = paddle.index_select(octets, paddle.to_tensor(columns), axis=1)
            value = value + part * 256**place
        shifted = paddle.floor_divide(value, paddle.to_tensor(2 ** (first_bits % 8)))
        return paddle.remainder(shifted, paddle.full([1], 2**self.id_bits, dtype="int64"))


def _fixed(values: FloatArray, units: float) -> IntArray:
    """Fixed-point numbers; what does not fit becomes the largest."""
    numbers: IntArray = np.rint(np.minimum(values * units, _MOST)).astype(np.int64)
    return numbers
