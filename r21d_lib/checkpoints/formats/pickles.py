"""Reading other people's weight files without running their code: Caffe2 pickles and torch's .pth.

A pickle is a program. The one here may build numbers, texts, lists, tuples, dicts with plain keys and
numeric arrays, no more bytes of them than its file has, and nothing else. A .pth file is rehearsed so,
with stand-ins for tensors, before torch's own restricted reader gets it.
"""

import math
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from torch import Tensor

from r21d_lib.errors import CheckpointError

_LARGEST = 2 * 10**9  # bytes; R(2+1)D-152 with its momentum blobs takes half of it
_MOST_STEPS = 300_000  # of all pickles in a file; the largest such file needs about 30,000
_LEGACY_TORCH = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # the number that old .pth begin with
_LEGACY_PICKLES = 5  # that number, a version, sizes of integers, the content, the storages' keys
_PLAIN = (
    "PROTO FRAME MARK STOP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
    "SHORT_BINBYTES BINBYTES8 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "
    "GLOBAL STACK_GLOBAL REDUCE BUILD"
)
_PLAIN_OPCODES = frozenset(_PLAIN.split())
_KEYS = (str, bytes, int, float, type(None))  # a tuple's hash can take as long as the file likes
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_SAVE_WEIGHTS = "save the weights alone, torch.save(network.state_dict(), FILE)"
_SAVE_OWN = "save it with its card, r21d_lib.checkpoints.save(FILE, network, card)"
_USUAL_KEYS = ("state_dict", "model_state_dict", "model", "net")  # the first that is there is taken
_DEEPEST = 4  # dicts around the weights
# Plain values that training scripts keep beside the weights; none of them is built.
_BESIDE = (
    {"argparse.Namespace", "numpy.dtype"}
    | {f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")}
    | {f"numpy.dtypes.{kind}DType" for kind in ("Float64", "Float32", "Int64", "Bool")}
    | {f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath", "_local.PosixPath")}
)
_DTYPES = frozenset({"f2", "f4", "f8", "i4", "i8", "u1", "b1"})
FileKind = Literal["safetensors", "caffe2", "torch"]


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
    try:
        with open(path, "rb") as file:
            found = _Blobs(file, _Room(path.stat().st_size)).load()
    # A hostile pickle can raise anything; none of it may pass as a traceback.
    except Exception as error:
        raise CheckpointError(f"{path} is refused: {_reason(error)}") from error
    blobs = found.get("blobs", found) if isinstance(found, dict) else found
    if not isinstance(blobs, dict) or not blobs:
        raise CheckpointError(f"{path} is refused: it holds no dict of blobs")
    for name, blob in blobs.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{path} is refused: the name of a blob is a {type(name).__name__}")
        if not isinstance(blob, _Array) or blob.values is None:
            raise CheckpointError(f"{path} is refused: its entry {name!r} is not an array")
    return {name: blob.values for name, blob in blobs.items()}


def read_torch(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a .pth file, also out of a training checkpoint.

    Raises:
        CheckpointError: if the file is cut, compressed, asks for code, or holds no state dict.
    """
    try:
        _rehearse(path)
        # Training scripts store their arguments and accuracies: such values are read as nothing.
        beside: list[Any] = [(_Ignored, name) for name in sorted(_BESIDE)]
        with torch.serialization.safe_globals(beside):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # as above
        raise CheckpointError(f"{path} is refused: {_reason(error)}") from error
    found = _state_dict(found)
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{path} is refused: it holds no state dict")
    for name, tensor in found.items():
        if not isinstance(name, str):
            raise CheckpointError(f"{path} is refused: the name of a tensor is a {type(name).__name__}")
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{path} is refused: its entry {name!r} is not a tensor")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(f"{path} is refused: {name} is not a plain tensor")
    if sum(tensor.numel() * tensor.element_size() for tensor in found.values()) > path.stat().st_size:
        raise CheckpointError(f"{path} is refused: its tensors announce more than the file holds")
    return found


def _state_dict(found: Any) -> Any:
    """Return the dict of tensors in what a training script saved, wherever it put it."""
    for _ in range(_DEEPEST):  # a hostile dict may hold itself
        if not isinstance(found, dict):
            break
        inner = {key: value for key, value in found.items() if isinstance(value, dict) and value}
        usual = [inner[key] for key in _USUAL_KEYS if key in inner]
        tensors = any(isinstance(value, Tensor) for value in found.values())
        if not usual and (tensors or len(inner) != 1):
            break
        found = usual[0] if usual else next(iter(inner.values()))
    return found


def _reason(error: Exception) -> str:
    """Return an error's first line without colours, or its kind where it says nothing."""
    lines = _COLOURS.sub("", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _rehearse(path: Path) -> None:
    """Read a .pth file's pickles with stand-ins for tensors, and refuse what torch should not run."""
    room = _Room(path.stat().st_size)
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            for _ in range(_LEGACY_PICKLES):
                _Rehearsal(file, room).load()
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if code := [entry.filename for entry in entries if "/code/" in entry.filename]:
            own = any("/__torch__/r21d_lib/" in name for name in code)
            raise CheckpointError(
                f"it is TorchScript, a program: {_SAVE_OWN if own else _SAVE_WEIGHTS}"
            )
        # torch stores its tensors as they are, once each.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise CheckpointError("its archive is compressed, which torch never does")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise CheckpointError("its archive announces more than it holds")
        if len({entry.filename for entry in entries}) < len(entries):
            raise CheckpointError("its archive holds two entries of one name")
        if damaged := archive.testzip():
            raise CheckpointError(f"{damaged} in it is not as it was written")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as file:
                    _Rehearsal(file, room).load()


class _Room:
    """What the pickles of a file may still take: steps, and bytes of arrays and encoded texts."""

    def __init__(self, size: int) -> None:
        # Twice its size, as Python 3 writes bytes for Python 2 as a text that is to be encoded.
        self.bytes, self.steps = 2 * size, _MOST_STEPS

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise pickle.UnpicklingError("it takes more steps than any network's weights")

    def take(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise pickle.UnpicklingError("it builds more than the file holds")


def _check_keys(keys: Iterable[object]) -> None:
    """Refuse keys whose hash is slow, or can be chosen to be that of others."""
    for key in keys:
        if not isinstance(key, _KEYS) or (isinstance(key, int) and key.bit_length() > 64):
            raise pickle.UnpicklingError(f"a key in it is a {type(key).__name__}, or too large")


# The reader in Python, not the one in C, as only it can be told what each opcode does.
_Reader: Any = pickle._Unpickler


class _PlainReader(_Reader):
    """A reader of pickles that takes plain opcodes and keys only, within a `_Room`."""

    opcodes = _PLAIN_OPCODES

    def __init__(self, file: IO[bytes], room: _Room) -> None:
        super().__init__(file, encoding="latin1")
        self.room = room
        self.dispatch = {ord(opcode.code): self._loader(opcode) for opcode in pickletools.opcodes}

    def _loader(self, opcode: pickletools.OpcodeInfo) -> Callable[[Any], None]:
        """Return what an opcode does: `load` calls it with this reader."""
        if opcode.name not in self.opcodes:

            def refuse(_reader: Any) -> None:
                raise pickle.UnpicklingError(f"it uses {opcode.name}, which plain arrays do not need")

            return refuse
        usual = _Reader.dispatch[ord(opcode.code)]
        load = getattr(self, f"load_{opcode.name.lower()}_checked", None)

        def step(reader: Any) -> None:
            self.room.step()
            if load is not None:
                load()
            usual(reader)

        return step

    def load_setitem_checked(self) -> None:
        _check_keys(self.stack[-2:-1])

    def load_setitems_checked(self) -> None:
        _check_keys(self.stack[::2])

    load_dict_checked = load_setitems_checked

    def encode(self, text: object, encoding: object) -> bytes:
        """Make bytes of text, as Python 3 writes bytes for Python 2."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("it encodes something other than bytes")
        self.room.take(len(text))
        return text.encode("latin1")


class _Maker:
    """A function that a pickle may call, and which it cannot change."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


class _Dtype:
    """A numeric type, as a pickle describes it."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, align: object = 0, copy: object = 0) -> None:
        if not isinstance(code, str) or code not in _DTYPES:
            told = code if isinstance(code, str) else type(code).__name__
            raise pickle.UnpicklingError(f"it holds an array of dtype {told!r}, not plain numbers")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *rest = state
        if order not in ("<", ">", "=", "|") or rest[:3] != [None, None, None]:
            raise pickle.UnpicklingError("it holds an array of a compound dtype")
        self.order = order


class _Array:
    """An array, as a pickle describes it; its shape, dtype and data must agree."""

    __slots__ = ("room", "values")

    def __init__(self, room: _Room) -> None:
        self.room = room
        self.values: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | str):
            raise pickle.UnpicklingError("it holds an array without a dtype or without data")
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise pickle.UnpicklingError("it holds an array whose shape is no tuple of lengths")
        plain = np.dtype(dtype.order + dtype.code)
        if len(shape) > 8 or math.prod(shape) * plain.itemsize != len(data):
            raise pickle.UnpicklingError(
                f"it holds an array of shape {shape} and {len(data)} bytes, which do not fit"
            )
        self.room.take(len(data))
        data = data.encode("latin1") if isinstance(data, str) else data
        values = np.frombuffer(data, plain).reshape(shape, order="F" if fortran else "C")
        self.values = values.astype(plain.newbyteorder("="))


_NDARRAY = _Maker(lambda *_: None)


class _Blobs(_PlainReader):
    """Reads a Caffe2 pickle: of all names in it, five are resolved, to stand-ins of this module."""

    def find_class(self, module: str, name: str) -> Any:
        makers = {
            ("numpy.core.multiarray", "_reconstruct"): _Maker(self._reconstruct),
            ("numpy._core.multiarray", "_reconstruct"): _Maker(self._reconstruct),
            ("numpy", "ndarray"): _NDARRAY,
            ("numpy", "dtype"): _Maker(_Dtype),
            ("_codecs", "encode"): _Maker(self.encode),
        }
        if (module, name) not in makers:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return makers[module, name]

    def _reconstruct(self, kind: object, shape: object, code: object) -> _Array:
        if kind is not _NDARRAY:
            raise pickle.UnpicklingError("it builds an array of a kind of its own")
        return _Array(self.room)


class _Ignored:
    """What stands for a value beside the weights when torch reads a .pth file."""

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _StandIn(dict[Any, Any]):
    """Takes the place of a tensor, a storage or an ordered dict while a .pth file is rehearsed."""

    def __setstate__(self, state: object) -> None:
        pass


class _Rehearsal(_PlainReader):
    """Reads a .pth file's pickle and makes nothing of it: what it says is allowed, or raises."""

    opcodes = _PLAIN_OPCODES | {"BINPERSID", "NEWOBJ"}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _Maker(self._ordered)
        if (module, name) == ("_codecs", "encode"):
            return _Maker(self.encode)
        of_torch = module == "torch" or module.startswith("torch.")
        if of_torch or f"{module}.{name}" in _BESIDE:
            return _Maker(self._stand_in)  # torch's own reader has a list of what it runs of torch
        way_out = _SAVE_OWN if module.startswith("r21d_lib.") else _SAVE_WEIGHTS
        raise pickle.UnpicklingError(f"it asks for {module}.{name}: {way_out}")

    def persistent_load(self, identity: object) -> Any:
        self._check_flat(identity if isinstance(identity, tuple) else (identity,))
        return _StandIn()

    def load_newobj_checked(self) -> None:
        # The opcode's own code makes an object of the class below the arguments: of a plain dict here.
        self._check_flat(self.stack[-1])
        self.stack[-2:] = [_StandIn, ()]

    def _ordered(self, pairs: object = ()) -> _StandIn:
        if not isinstance(pairs, list | tuple):
            raise pickle.UnpicklingError("it builds an ordered dict of something else than pairs")
        _check_keys(pair[0] for pair in pairs)
        return _StandIn({key: value for key, value in pairs})

    def _stand_in(self, *arguments: object) -> _StandIn:
        self._check_flat(arguments)
        return _StandIn()

    def _check_flat(self, arguments: Iterable[object]) -> None:
        """Refuse tuples of more than numbers, texts and stand-ins: printing them could take hours."""
        for value in arguments:
            inner = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(v, (*_KEYS, _StandIn, _Maker, dict)) for v in inner):
                raise pickle.UnpicklingError("it calls a function with nested arguments")
