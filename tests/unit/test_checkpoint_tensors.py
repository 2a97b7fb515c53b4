"""The safetensors files we write are the library's, and no bad file is taken for a good one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from safetensors import safe_open
from safetensors.numpy import load, save

from src.checkpoint.tensors import DTYPES, HostBuffers, HostTensor, read_tensors, write_safetensors
from src.errors import CheckpointCorrupt
from tests.fakes.checkpoint_content import assert_same_tensor


class Buffer:
    """Collects what is written."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: memoryview | bytes) -> None:
        self.content += data


def encode(tensors: dict[str, HostTensor]) -> bytes:
    buffer = Buffer()
    write_safetensors(buffer, tensors)
    return bytes(buffer.content)


STORAGE = dict(
    zip(
        DTYPES,
        ["?", "u1", "i1", "<u2", "<i2", "<f2", "<u2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8"],
        strict=True,
    )
)


def host_tensors() -> st.SearchStrategy[HostTensor]:
    def of(dtype: str) -> st.SearchStrategy[HostTensor]:
        shapes = numpy_strategies.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
        arrays = numpy_strategies.arrays(STORAGE[dtype], shapes)
        return arrays.map(lambda array: HostTensor.from_numpy(array, dtype))

    return st.sampled_from(DTYPES).flatmap(of)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tensors") / "model.safetensors"


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(
    lambda name: name != "__metadata__"
)


@given(tensors=st.dictionaries(names, host_tensors(), max_size=4))
def test_round_trip_of_any_tensors_gives_the_same_bytes_types_and_shapes(
    tensors: dict[str, HostTensor], scratch: Path
) -> None:
    scratch.write_bytes(encode(tensors))
    found = read_tensors(scratch)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert_same_tensor(found[name], tensor)
        assert found[name].data.flags.aligned
        assert not found[name].data.size or not found[name].data.flags.writeable


@given(tensors=st.dictionaries(names, host_tensors(), min_size=1, max_size=4))
def test_reference_library_reads_what_we_write(
    tensors: dict[str, HostTensor], scratch: Path
) -> None:
    scratch.write_bytes(encode(tensors))
    with safe_open(scratch, framework="numpy") as file:
        assert set(file.keys()) == set(tensors)
        for name, tensor in tensors.items():
            part = file.get_slice(name)
            assert (part.get_dtype(), tuple(part.get_shape())) == (tensor.dtype, tensor.shape)
            if tensor.dtype != "BF16":  # which NumPy cannot hold
                assert file.get_tensor(name).tobytes() == tensor.data.tobytes()


def test_we_read_what_the_reference_library_writes(tmp_path: Path) -> None:
    arrays = {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "flag": np.array([True, False, True]),
        "empty": np.zeros((0, 3), np.float16),
        "scalar": np.array(7, np.int64),
    }
    (tmp_path / "model.safetensors").write_bytes(save(arrays, metadata={"format": "np"}))
    found = read_tensors(tmp_path / "model.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert_same_tensor(found[name], HostTensor.from_numpy(array))


def test_layout_is_wide_first_then_by_name_whatever_the_order_of_the_mapping() -> None:
    bytes_first = {
        "b": HostTensor.from_numpy(np.zeros(3, np.uint8)),
        "d": HostTensor.from_numpy(np.ones(1, np.float32)),
        "c": HostTensor.from_numpy(np.zeros(1, np.float32)),
    }
    content = encode(bytes_first)
    assert content == encode(dict(reversed(bytes_first.items())))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header) == ["c", "d", "b"]
    assert len(content) % 8 == (4 + 4 + 3) % 8  # the header ends on a multiple of 8


def test_views_that_are_not_contiguous_are_written_in_c_order() -> None:
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    content = encode({"w": HostTensor.from_numpy(transposed)})
    np.testing.assert_array_equal(load(content)["w"], transposed)


def test_big_endian_arrays_become_little_endian() -> None:
    tensor = HostTensor.from_numpy(np.array([1, 2], ">i4"))
    assert tensor.dtype == "I32"
    assert tensor.data.tobytes() == b"\1\0\0\0\2\0\0\0"


def test_native_arrays_are_wrapped_without_a_copy() -> None:
    array = np.zeros(4, np.float32)
    assert HostTensor.from_numpy(array).data is array or np.shares_memory(
        HostTensor.from_numpy(array).data, array
    )


def test_buffers_give_copies_that_use_the_same_memory_again() -> None:
    buffers = HostBuffers()
    live = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "step": np.array(7)}
    first = buffers.copy_all(live)
    live["w"] += 1
    live["step"] += 1
    assert first["w"][0, 0] == 0
    assert first["step"] == 7
    assert first["w"].flags.c_contiguous
    second = buffers.copy_all(live)
    for name, array in live.items():
        assert second[name] is first[name]
        np.testing.assert_array_equal(second[name], array)


def test_buffers_follow_a_change_of_shape_or_type() -> None:
    buffers = HostBuffers()
    for array in (np.zeros((2, 3)), np.ones((2, 3), np.float16), np.ones(4), np.zeros((0, 5))):
        copy = buffers.copy_all({"w": array})["w"]
        assert copy.dtype == array.dtype
        np.testing.assert_array_equal(copy, array)


def test_large_array_is_copied_completely_in_pieces() -> None:
    rows = 16 * 1024 + 7  # of 4 KiB: four pieces and a rest
    large = np.arange(rows * 1024, dtype=np.int32).reshape(rows, 1024)
    copy = HostBuffers().copy_all({"embedding": large})["embedding"]
    np.testing.assert_array_equal(copy, large)
    assert not np.shares_memory(copy, large)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HostTensor.from_numpy(np.zeros(2, complex)), "dtype complex128 has no safetensor"),
        (lambda: HostTensor.from_numpy(np.zeros(2), "BF16"), "a BF16 tensor holds uint16, not flo"),
        (lambda: HostTensor("F31", (2,), np.zeros(2)), "dtype 'F31' is not one of BOOL, U8"),
        (lambda: HostTensor("F64", (3,), np.zeros(2)), r"shape \(3,\) with data of shape \(2,\)"),
    ],
)
def test_tensor_that_no_file_can_hold_is_refused(
    build: Callable[[], HostTensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_reserved_name_is_refused() -> None:
    with pytest.raises(ValueError, match="__metadata__ is reserved"):
        encode({"__metadata__": HostTensor.from_numpy(np.zeros(1))})


def entry(begin: int, end: int, *, dtype: str = "U8", shape: object = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape or [end - begin], "data_offsets": [begin, end]}


def raw(header: object, data: bytes = b"") -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data


BAD_FILES = {
    "empty": (b"", "has 0 bytes, fewer than the 8"),
    "length only": (b"\xff" * 8, "its header alone claims 18446744073709551615"),
    "header beyond the end": (raw("{}")[:-1], "has 9 bytes, its header alone claims 2"),
    "not JSON": (raw("{]"), "header that is not JSON"),
    "not UTF-8": (b"\2\0\0\0\0\0\0\0\xff\xfe", "header that is not JSON"),
    "deeply nested": (raw("[" * 100_000), "header that is not JSON"),
    "a list": (raw([]), "not a JSON object but list"),
    "entry is a number": (raw({"w": 3}), "tensor w: not a dtype, a shape and two offsets: 3"),
    "unknown type": (raw({"w": entry(0, 1, dtype="F4")}, b"x"), "tensor w: dtype 'F4' is not one"),
    "negative side": (raw({"w": entry(0, 1, shape=[-1])}, b"x"), r"tensor w: shape \[-1\]"),
    "boolean side": (raw({"w": entry(0, 1, shape=[True])}, b"x"), r"tensor w: shape \[True\]"),
    "fraction": (raw({"w": entry(0, 1, shape=[1.0])}, b"x"), r"tensor w: shape \[1.0\]"),
    "wrong size": (raw({"w": entry(0, 3, dtype="F32", shape=[1])}, b"xyz"), "is 4 bytes, not 3"),
    "backwards": (raw({"w": entry(2, 1, shape=[1])}, b"xy"), "is 1 bytes, not -1"),
    "overlap": (raw({"a": entry(0, 2), "b": entry(1, 3)}, b"xyz"), "b: starts at 1, not 2: it ove"),
    "gap": (raw({"a": entry(0, 1), "b": entry(2, 3)}, b"xyz"), "b: starts at 2, not 1: it leaves"),
    "truncated": (raw({"a": entry(0, 4)}, b"xyz"), "holds 3 bytes of tensors, its header prom"),
    "rest": (raw({"a": entry(0, 2)}, b"xyz"), "holds 3 bytes of tensors, its header promises 2"),
    "huge side": (raw({"w": entry(0, 0, shape=[0, 2**70])}), "has a shape that NumPy refuses"),
    "many sides": (raw({"w": entry(0, 0, shape=[0] * 99)}), "has a shape that NumPy refuses"),
    "twice": (raw('{"a": 1, "a": 2}'), "header that is not JSON: a occurs twice"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_file_is_refused_with_its_name_and_fault(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointCorrupt, match=message) as caught:
        read_tensors(path)
    assert caught.value.path == tmp_path
    assert caught.value.reason.startswith("model.safetensors ")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorrupt, match="cannot be read: No such file"):
        read_tensors(tmp_path / "model.safetensors")


@given(data=st.data())
def test_damaged_header_is_refused_or_describes_the_bytes_that_are_there(
    data: st.DataObject, scratch: Path
) -> None:
    content = bytearray(encode({"a": HostTensor.from_numpy(np.zeros((2, 3), np.float32))}))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 24 - 1))
        content[position] = data.draw(st.integers(0, 255))
    scratch.write_bytes(content)
    try:
        found = read_tensors(scratch)
    except CheckpointCorrupt:
        return
    assert sum(tensor.data.nbytes for tensor in found.values()) <= 24


def test_arrays_outlive_their_deleted_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode({"w": HostTensor.from_numpy(np.arange(1000))}))
    found = read_tensors(path)["w"]
    path.unlink()
    np.testing.assert_array_equal(found.data, np.arange(1000))


def test_misaligned_file_of_others_gives_aligned_arrays(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    header = json.dumps({"w": entry(0, 8, dtype="F64", shape=[1])})
    padded = header + " " * ((1 - len(header)) % 8)
    path.write_bytes(raw(padded, np.array([1.5]).tobytes()))
    found = read_tensors(path)["w"].data
    assert found.flags.aligned
    assert found.tolist() == [1.5]
