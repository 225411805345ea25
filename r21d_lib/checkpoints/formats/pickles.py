"""Reading other people's weight files without running their code: Caffe2 pickles and torch's .pth.

A pickle is a program. Here it is read beforehand, and may then build numbers, texts, lists, tuples,
dicts and plain numeric arrays, and nothing else; .pth files go through torch's own restricted reader.
"""

import argparse
import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from r21d_lib.errors import CheckpointError

FileKind = Literal["safetensors", "caffe2", "torch"]

_LARGEST = 2 * 10**9  # bytes; R(2+1)D-152 with its momentum blobs takes half of it
_MOST_OPCODES = 500_000  # the largest such file needs about 30,000
_MOST_TUPLES = 20_000  # hashing tuples within tuples takes C stack for each
_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number that old .pth begin with
_PLAIN_OPCODES = (
    "PROTO FRAME MARK STOP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
    "SHORT_BINBYTES BINBYTES8 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "
    "GLOBAL STACK_GLOBAL REDUCE BUILD"
)
_DTYPES = frozenset({"f2", "f4", "f8", "i4", "i8", "u1", "b1"})


def file_kind(path: Path) -> FileKind:
    """Tell by its first bytes what a weight file is.

    Raises:
        CheckpointError: if it is none, an HTML page instead of a download, or too large.
    """
    size = path.stat().st_size
    if size > _LARGEST:
        raise CheckpointError(
            f"{path} has {size} bytes, more than any network here: it is another file"
        )
    with open(path, "rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\x03\x04", _LEGACY_TORCH)):
        return "torch"
    header = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and header <= size:
        return "safetensors"
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return "caffe2"
    if start.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path} is a web page instead of weights: download the file itself")
    raise CheckpointError(
        f"{path} is no weight file: give .safetensors, a .pth of torch or a .pkl of Caffe2"
    )


def read_caffe2(path: Path) -> dict[str, np.ndarray]:
    """Return the blobs of a Caffe2 pickle, `{"blobs": {...}}` or the inner dict, by name.

    Raises:
        CheckpointError: if the file is cut, holds anything but numeric arrays, or asks for code.
    """
    content = path.read_bytes()
    try:
        _check_opcodes(content)
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except (
        Exception
    ) as error:  # a hostile pickle can raise anything; none of it may pass as a traceback
        raise CheckpointError(f"{path} is refused: {_reason(error)}") from error
    blobs = found.get("blobs", found) if isinstance(found, dict) else found
    if not isinstance(blobs, dict) or not blobs:
        raise CheckpointError(f"{path} is refused: it holds no dict of blobs")
    for name, blob in blobs.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{path} is refused: the name of a blob is a {type(name).__name__}")
        if not isinstance(blob, _Array) or blob.values is None:
            raise CheckpointError(f"{path} is refused: its entry {name[:80]!r} is not an array")
    return {name: blob.values for name, blob in blobs.items()}


def read_torch(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a .pth file, also out of a training checkpoint or of DataParallel.

    Raises:
        CheckpointError: if the file is cut, compressed, asks for code, or holds no state dict.
    """
    try:
        _check_zip(path)
        # Training scripts store their arguments: a Namespace holds values and can do nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        raise CheckpointError(f"{path} is refused: {_reason(error)}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{path} is refused: it holds no state dict")
    for name, tensor in found.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{path} is refused: the name of a tensor is a {type(name).__name__}")
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path} is refused: its entry {name[:80]!r} is not a tensor")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(f"{path} is refused: {name} is not a plain tensor")
    if sum(tensor.numel() * tensor.element_size() for tensor in found.values()) > path.stat().st_size:
        raise CheckpointError(f"{path} is refused: its tensors announce more than the file holds")
    prefix = "module." if all(name.startswith("module.") for name in found) else ""
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def _reason(error: Exception) -> str:
    """Return an error's first line, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _check_zip(path: Path) -> None:
    """Refuse archives that unpack to more than they are: torch stores its tensors as they are."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError("its archive is compressed, which torch never does")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise CheckpointError("its archive announces more than it holds")


def _check_opcodes(content: bytes) -> None:
    """Walk through a pickle without running it and refuse what plain data does not need."""
    tuples = count = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content), start=1):
        if opcode.name not in _PLAIN_OPCODES.split():
            raise pickle.UnpicklingError(f"it uses {opcode.name}, which plain arrays do not need")
        if "PUT" in opcode.name and int(argument or 0) > count:
            # The table of remembered objects grows to the number asked for.
            raise pickle.UnpicklingError(f"it remembers object {argument} of {count}")
        tuples += "TUPLE" in opcode.name
        if count > _MOST_OPCODES or tuples > _MOST_TUPLES:
            raise pickle.UnpicklingError("it takes more steps than any network's weights")


class _Dtype:
    """A numeric type, as a pickle describes it."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, align: object = 0, copy: object = 0) -> None:
        if code not in _DTYPES:
            raise pickle.UnpicklingError(f"it holds an array of dtype {code!r}, not of plain numbers")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *rest = state
        if order not in ("<", ">", "=", "|") or rest[:3] != [None, None, None]:
            raise pickle.UnpicklingError("it holds an array of a compound dtype")
        self.order = order


class _Array:
    """An array, as a pickle describes it; its shape, dtype and data must agree."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("it holds an array without a dtype or without data")
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise pickle.UnpicklingError(f"it holds an array of shape {shape!r}"[:120])
        plain = np.dtype(dtype.order + dtype.code)
        if len(shape) > 8 or math.prod(shape) * plain.itemsize != len(data):
            raise pickle.UnpicklingError(
                f"it holds an array of shape {shape} and {len(data)} bytes, which do not fit"
            )
        values = np.frombuffer(data, plain).reshape(shape, order="F" if fortran else "C")
        self.values = values.astype(plain.newbyteorder("="))


class _Maker:
    """A function that a pickle may call, and which it cannot change."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("it builds an array of a kind of its own")
    return _Array()


def _encode(text: object, encoding: object) -> bytes:
    """Make bytes of text, as Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it encodes something other than bytes")
    return text.encode("latin1")


_NDARRAY = _Maker(lambda *_: None)
_MAKERS = {
    ("numpy.core.multiarray", "_reconstruct"): _Maker(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Maker(_reconstruct),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Maker(_Dtype),
    ("_codecs", "encode"): _Maker(_encode),
}


class _Unpickler(pickle.Unpickler):
    """Resolves five names to stand-ins of this module, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _MAKERS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None
