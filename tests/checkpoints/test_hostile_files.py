"""Weight files made to do harm: each is refused in one line, and no code of theirs runs."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from foreign_files import Python2Pickle

from r21d_lib import checkpoints
from r21d_lib.checkpoints.cards import METADATA_KEY
from r21d_lib.errors import R21DError

VALUES = np.ones((2, 3), np.float32)


def call(module, name, *arguments):
    """A pickle that calls a function with texts, as protocol 2 writes it."""
    writer = Python2Pickle().emit(f"c{module}\n{name}\n".encode(), b"(")
    for argument in arguments:
        writer.text(argument)
    return b"".join(writer.emit(b"tR.").parts)


def one_array(**changes):
    """A pickle of {"blobs": {"conv1_w": array}} with a lie in the array."""
    writer = Python2Pickle().emit(b"}").text("blobs").emit(b"}").text("conv1_w")
    return b"".join(writer.array(VALUES, **changes).emit(b"ss.").parts)


def raw(*parts):
    return b"\x80\x02" + b"".join(parts)


def touch(witness):
    return f"touch {witness}"


class Touching:
    """An object whose pickle runs a command when it is read."""

    def __init__(self, witness):
        self.witness = str(witness)

    def __reduce__(self):
        return os.system, (touch(self.witness),)


WHOLE = Python2Pickle().file({"conv1_w": VALUES, "conv1_b": VALUES})
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"

PICKLES = {
    "os.system": lambda w: call("os", "system", touch(w)),
    "posix.system": lambda w: call("posix", "system", touch(w)),
    "builtins.eval": lambda w: call("builtins", "eval", f"open({str(w)!r}, 'w')"),
    "Python 2's eval": lambda w: call("__builtin__", "eval", f"open({str(w)!r}, 'w')"),
    "exec": lambda w: call("builtins", "exec", f"open({str(w)!r}, 'w')"),
    "open": lambda w: call("io", "open", str(w), "w"),
    "subprocess": lambda w: call("subprocess", "getoutput", touch(w)),
    "getattr chain": lambda w: raw(
        b"c__builtin__\ngetattr\ncos\nsystem\nU\x08__call__\x86RU",
        bytes([len(touch(w))]) + touch(w).encode(),
        b"\x85R.",
    ),
    "attrgetter": lambda w: call("operator", "attrgetter", "system"),
    "importlib": lambda w: call("importlib", "import_module", "antigravity"),
    "numpy.load": lambda w: call("numpy", "load", str(w)),
    "numpy testing's runstring": lambda w: call("numpy.testing._private.utils", "runstring", "1", "2"),
    "numpy's scalar": lambda w: raw(b"cnumpy.core.multiarray\nscalar\n", DTYPE, b"U\x04abcd\x86R."),
    "torch's rebuilder": lambda w: call("torch._utils", "_rebuild_tensor_v2", "x"),
    "protocol 4": lambda w: pickle.dumps(Touching(w), protocol=4),
    "protocol 2 by Python 3": lambda w: pickle.dumps({"blobs": Touching(w)}, protocol=2),
    "protocol 0": lambda w: pickle.dumps(Touching(w), protocol=0),
    "instance opcode": lambda w: raw(
        b"(U", bytes([len(touch(w))]), touch(w).encode(), b"ios\nsystem\n."
    ),
    "object opcode": lambda w: raw(b"(cos\nsystem\nU\x02lso."),
    "new object opcode": lambda w: raw(b"cnumpy\nndarray\n)\x81."),
    "persistent identity": lambda w: raw(b"U\x01xQ."),
    "extension": lambda w: raw(b"\x82\x01."),
    "objects in an array": lambda w: one_array(code="O8"),
    "texts in an array": lambda w: one_array(code="S4"),
    "void array": lambda w: one_array(code="V8"),
    "compound dtype": lambda w: raw(
        RECONSTRUCT, b"(K\x01(K\x01t", DTYPE, b"(K\x03U\x01<NU\x01x}NNNtb\x89U\x04abcdtb."
    ),
    "array of its own kind": lambda w: raw(
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85U\x01b\x87R."
    ),
    "shape larger than its data": lambda w: one_array(shape=(2**30, 2**30)),
    "negative shape": lambda w: one_array(shape=(-2, -3)),
    "shape smaller than its data": lambda w: one_array(shape=(2,)),
    "array never filled": lambda w: raw(b"}U\x07conv1_w", RECONSTRUCT, b"s."),
    "changed function": lambda w: raw(b"c_codecs\nencode\n}U\x0c__defaults__U\x01xsb."),
    "encoding of its own": lambda w: call("_codecs", "encode", "abc", "rot13"),
    "memory for a table": lambda w: raw(b"}r", struct.pack("<I", 2**31 - 1), b"."),
    "length beyond the end": lambda w: raw(b"}T", struct.pack("<i", 2**31 - 1), b"x."),
    "eight-byte length": lambda w: b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "tuples in tuples as a key": lambda w: raw(b"}", b"K\x01", b"\x85" * 500_000, b"K\x01s."),
    "too many steps": lambda w: raw(b"]", b"K\x01a" * 400_000, b"."),
    "no end": lambda w: WHOLE[:-1],
    "cut in the middle": lambda w: WHOLE[: len(WHOLE) // 2],
    "a list": lambda w: raw(b"]."),
    "an empty dict": lambda w: raw(b"}."),
    "a dict of itself": lambda w: raw(b"}q\x00U\x05blobsh\x00s."),
    "a text for an array": lambda w: raw(b"}U\x07conv1_wU\x01xs."),
    "a number for a name": lambda w: raw(b"}K\x01K\x02s."),
    "nothing": lambda w: b"",
    "a web page": lambda w: b"<!DOCTYPE html><html>404</html>",
    "noise": lambda w: bytes(range(255, 0, -1)) * 9,
}


def refuse(path, witness):
    with pytest.raises(R21DError) as caught:
        checkpoints.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 1000
    assert not witness.exists(), "its code ran"


@pytest.mark.parametrize("kind", PICKLES)
def test_hostile_pickles(tmp_path, kind):
    witness, path = tmp_path / "ran", tmp_path / "weights.pkl"
    path.write_bytes(PICKLES[kind](witness))
    refuse(path, witness)


def torch_file(content, **options):
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def compressed(content):
    """The same archive, deflated: how a small file becomes a large one."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def without_pickle(content):
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith("data.pkl"):
                new.writestr(entry.filename, old.read(entry))
    return target.getvalue()


STATE = {"conv1.weight": torch.ones(2, 3)}
LEGACY = {"_use_new_zipfile_serialization": False}
TORCH_FILES = {
    "code": lambda w: torch_file(Touching(w)),
    "code, old form": lambda w: torch_file(Touching(w), **LEGACY),
    "code beside weights": lambda w: torch_file({"model": STATE, "args": Touching(w)}),
    "a module": lambda w: torch_file(torch.nn.Linear(2, 2)),
    "zip bomb": lambda w: compressed(torch_file({"stem.0.weight": torch.zeros(10**7)})),
    "cut": lambda w: torch_file(STATE)[:-200],
    "cut, old form": lambda w: torch_file(STATE, **LEGACY)[:-8],
    "no pickle inside": lambda w: without_pickle(torch_file(STATE)),
    "repeated values": lambda w: torch_file({"stem.0.weight": torch.zeros(1).expand(10**5, 10**5)}),
    "a list": lambda w: torch_file([1, 2]),
    "a sparse tensor": lambda w: torch_file({"stem.0.weight": torch.eye(3).to_sparse()}),
    "numbers": lambda w: torch_file({"stem.0.weight": 3}),
    "other tensors": lambda w: torch_file({"x": torch.ones(1)}),
    "tensors of other shapes": lambda w: torch_file(
        {"stem.0.weight": torch.ones(1), "fc.weight": 0 * VALUES_T}
    ),
}
VALUES_T = torch.from_numpy(VALUES)


@pytest.mark.parametrize("kind", TORCH_FILES)
def test_hostile_pth(tmp_path, kind):
    witness, path = tmp_path / "ran", tmp_path / "weights.pth"
    path.write_bytes(TORCH_FILES[kind](witness))
    refuse(path, witness)


def safetensors_file(header, data=b"", *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def with_card(**changes):
    """A safetensors file whose card lies about the network."""
    _, report = checkpoints.load("r2plus1d_10_figures")
    card = json.loads(report.card.to_json())
    card["network"] |= changes
    header = {"__metadata__": {METADATA_KEY: json.dumps(card)}, "stem.0.weight": tensor(0, 4)}
    return safetensors_file(header, b"\0" * 4)


SAFETENSORS = {
    "length beyond the end": lambda: safetensors_file({}, length=2**40),
    "length of 2^64": lambda: safetensors_file({}, length=2**64 - 1),
    "no JSON": lambda: safetensors_file(b"{oops"),
    "offsets beyond the end": lambda: safetensors_file({"x": tensor(0, 2**40, (2**38,))}, b"abcd"),
    "overlapping": lambda: safetensors_file({"x": tensor(0, 4), "y": tensor(0, 4)}, b"abcd"),
    "shape and length disagree": lambda: safetensors_file({"x": tensor(0, 4, (9,))}, b"abcd"),
    "negative offsets": lambda: safetensors_file({"x": tensor(-4, 0)}, b"abcd"),
    "unknown dtype": lambda: safetensors_file({"x": tensor(0, 4, dtype="OBJECT")}, b"abcd"),
    "no known tensor": lambda: safetensors_file({"x": tensor(0, 4)}, b"abcd"),
    "card is no JSON": lambda: safetensors_file({"__metadata__": {METADATA_KEY: "{"}}),
    "card nested without end": lambda: safetensors_file(
        {"__metadata__": {METADATA_KEY: "[" * 100_000}}
    ),
    "card of a huge network": lambda: with_card(width=10**7),
    "card of another network": lambda: with_card(name="r3d"),
    "card of an unknown network": lambda: with_card(name="r4d"),
    "card with words for numbers": lambda: with_card(depth="deep", width="wide"),
    "card with a list for a number": lambda: with_card(num_classes=[1]),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_lying_safetensors(tmp_path, kind):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(SAFETENSORS[kind]())
    refuse(path, tmp_path / "ran")


def test_there_are_enough_and_harmless_ones_still_load(tmp_path):
    assert len(PICKLES) + len(TORCH_FILES) + len(SAFETENSORS) >= 30
    from r21d_lib.checkpoints.formats.pickles import read_caffe2

    (tmp_path / "good.pkl").write_bytes(WHOLE)
    np.testing.assert_array_equal(read_caffe2(tmp_path / "good.pkl")["conv1_w"], VALUES)


def test_the_witness_would_be_seen(tmp_path):
    """A reader without protection runs the same files' code: the tests above can fail."""
    for kind in ("os.system", "getattr chain", "protocol 4"):
        witness = tmp_path / kind.replace(" ", "_")
        pickle.loads(PICKLES[kind](witness))
        assert witness.exists(), kind
