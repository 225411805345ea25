"""Weight files made to do harm: each is refused in one line, and no code of theirs runs."""

import argparse
import contextlib
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from foreign_files import Python2Pickle

from r21d_lib import checkpoints
from r21d_lib.checkpoints.cards import METADATA_KEY
from r21d_lib.checkpoints.formats import pickles
from r21d_lib.errors import R21DError
from r21d_lib.models.networks import build_network

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
    "shared tuples as a key": lambda w: raw(b"}", nested(), b"K\x01s."),
    "shared tuples as a dtype": lambda w: raw(b"cnumpy\ndtype\n(", nested(), b"K\x00K\x01tR."),
    "shared tuples as a shape": lambda w: raw(
        RECONSTRUCT, b"(K\x01", nested(), DTYPE, b"\x89U\x04abcdtb."
    ),
    "shared tuples as an order": lambda w: raw(DTYPE, b"(K\x03", nested(), b"NNNtb."),
    "integers of one hash": lambda w: raw(b"}(", *integers_of_one_hash(100_000), b"u."),
    "an array built again and again": lambda w: raw(
        *(b"(T", struct.pack("<i", 10**7), b"x" * 10**7, b"q\x00"),
        *(
            (RECONSTRUCT, b"(K\x01J", struct.pack("<i", 10**7 // 4), b"\x85", DTYPE, b"\x89h\x00tb")
            * 500
        ),
        b"t.",
    ),
    "a text encoded again and again": lambda w: raw(
        *(b"(X", struct.pack("<i", 10**7), b"x" * 10**7, b"q\x00"),
        *((b"c_codecs\nencode\nh\x00U\x06latin1\x86R",) * 500),
        b"t.",
    ),
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


def nested(depth=60):
    """A tuple of two of the tuple before, and so on: small, and of 2^depth parts when it is hashed."""
    steps = [b"K\x01\x85q\x00"]
    for _ in range(depth):
        steps.append(b"0h\x00h\x00\x86q\x00")
    return b"".join(steps)


def integers_of_one_hash(count):
    """Pairs of a dict whose keys all have the hash 1."""
    for number in range(count):
        value = 1 + number * (2**61 - 1)
        data = value.to_bytes(value.bit_length() // 8 + 1, "little")
        yield b"\x8a" + bytes([len(data)]) + data + b"K\x00"


def refuse(path, witness):
    started = time.process_time()
    with pytest.raises(R21DError) as caught:
        checkpoints.load(path)
    assert time.process_time() - started < 2
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


def twice(content):
    """The same archive with each entry in it two times."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for entry in [*old.infolist(), *old.infolist()]:
            new.writestr(entry.filename, old.read(entry))
    return target.getvalue()


def without_pickle(content):
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith("data.pkl"):
                new.writestr(entry.filename, old.read(entry))
    return target.getvalue()


def torch_pickle(*parts):
    """A .pth archive around a pickle of one's own."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", raw(*parts))
        archive.writestr("archive/version", "3\n")
    return target.getvalue()


def old_torch_pickle(*parts):
    """The same in the form before archives."""
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    return head + pickle.dumps({"little_endian": True}, 2) + raw(*parts) + pickle.dumps([], 2)


STORAGE = b"(U\x07storagectorch\nFloatStorage\n"
SMALL = dict(build_network("r2plus1d", 10, num_classes=3, width=2).state_dict())
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
    "memory of its own": lambda w: torch_pickle(b"c__builtin__\nbytearray\nJ", INT_5E8, b"\x85R."),
    "shared tuples as a key": lambda w: torch_pickle(b"}", nested(), b"K\x01s."),
    "shared tuples as a key, old form": lambda w: old_torch_pickle(b"}", nested(), b"K\x01s."),
    "shared tuples in an ordered dict": lambda w: torch_pickle(
        b"ccollections\nOrderedDict\n(", nested(), b"K\x01ll\x85R."
    ),
    "shared tuples as a storage's key": lambda w: torch_pickle(STORAGE, nested(), b"U\x03cpuK\x01tQ."),
    "shared tuples as a size": lambda w: torch_pickle(
        b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00",
        nested(),
        b"(t\x89ccollections\nOrderedDict\n)RtR.",
    ),
    "integers of one hash": lambda w: torch_pickle(b"}(", *integers_of_one_hash(100_000), b"u."),
    "a text encoded again and again": lambda w: torch_pickle(
        *(b"(X", struct.pack("<i", 10**7), b"x" * 10**7, b"q\x00"),
        *((b"c_codecs\nencode\nh\x00U\x06latin1\x86R",) * 500),
        b"t.",
    ),
    "a block's number of 5,000 digits": lambda w: torch_file(
        {**SMALL, f"layer1.{'9' * 5000}.conv1.weight": torch.ones(1)}
    ),
    "complex weights": lambda w: torch_file({n: v.to(torch.complex64) for n, v in SMALL.items()}),
    "weights of 8 bits": lambda w: torch_file({n: v.to(torch.int8) for n, v in SMALL.items()}),
    "a thousand million classes": lambda w: torch_file(
        {**SMALL, "fc.weight": torch.empty(10**9, 0), "fc.bias": torch.empty(0)}
    ),
    "a width of a million": lambda w: torch_file(
        {**SMALL, "stem.0.weight": torch.empty(10**6, 10**6, 0, 7, 7)}
    ),
    "weights that lie nowhere": lambda w: torch_file({n: v.to("meta") for n, v in SMALL.items()}),
    "two pickles of one name": lambda w: twice(torch_file(STATE)),
    "tensors of other shapes": lambda w: torch_file(
        {"stem.0.weight": torch.ones(1), "fc.weight": 0 * VALUES_T}
    ),
}
VALUES_T = torch.from_numpy(VALUES)
INT_5E8 = struct.pack("<i", 5 * 10**8)


@pytest.mark.filterwarnings("ignore:Duplicate name", "ignore:Validating sparse")
@pytest.mark.parametrize("kind", TORCH_FILES)
def test_hostile_pth(tmp_path, kind):
    witness, path = tmp_path / "ran", tmp_path / "weights.pth"
    path.write_bytes(TORCH_FILES[kind](witness))
    refuse(path, witness)


MEASURE = """
import sys, time
from r21d_lib import checkpoints
from r21d_lib.checkpoints.formats import pickles
from r21d_lib.errors import R21DError
from r21d_lib.models.networks import build_network
from r21d_lib.suite.results import peak_mb
before = peak_mb()
for path in sys.argv[1:]:
    try:
        checkpoints.load(path)
    except R21DError:
        print(path, peak_mb() - before)
"""


def test_no_file_takes_200_mb(tmp_path):
    paths = []
    for suffix, kinds in ((".pkl", PICKLES), (".pth", TORCH_FILES)):
        for number, make in enumerate(kinds.values()):
            paths.append(tmp_path / f"{number}{suffix}")
            paths[-1].write_bytes(make(tmp_path / "ran"))
    for number, make in enumerate(SAFETENSORS.values()):
        paths.append(tmp_path / f"{number}.safetensors")
        paths[-1].write_bytes(make())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == len(paths) >= 100
    for line in done.stdout.splitlines():
        assert float(line.split()[-1]) < 200, line


def test_what_trainings_leave_beside_the_weights_is_no_harm(tmp_path):
    network = build_network("r2plus1d", 10, num_classes=3, width=2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.zeros(2, 3, 2, 16, 16)).sum().backward()
    optimizer.step()
    arguments = argparse.Namespace(lr=0.1, milestones=(10, 20), classes={"a": 1})
    content = {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "args": arguments}
    for form, options in (("new", {}), ("old", LEGACY)):
        path = tmp_path / f"{form}.pth"
        path.write_bytes(torch_file({**content, "epoch": 3, "parameter": network.fc.weight}, **options))
        read = pickles.read_torch(path)
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(read[name], tensor)


def safetensors_file(header, data=b"", *, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(start, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def with_card(**changes):
    """A safetensors file whose card lies about the network."""
    _, report = checkpoints.load("r2plus1d_10_figures")
    card = json.loads(report.card.to_json())
    for section, values in changes.items():
        card[section] = values if section == "classes" else card[section] | values
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
    "card of a huge network": lambda: with_card(network=dict(width=10**7)),
    "card of another network": lambda: with_card(network=dict(name="r3d")),
    "card of an unknown network": lambda: with_card(network=dict(name="r4d")),
    "card with words for numbers": lambda: with_card(network=dict(depth="deep", width="wide")),
    "card of endless clips": lambda: with_card(clips=dict(clip_len=10**9)),
    "card of endless frames": lambda: with_card(clips=dict(resize=[10**9, 10**9], crop=10**8)),
    "card of long names": lambda: with_card(classes=["x" * 20_000] * 12),
    "card of numbers for names": lambda: with_card(classes=[*range(12)]),
    "card with a list for a number": lambda: with_card(network=dict(num_classes=[1])),
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_lying_safetensors(tmp_path, kind):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(SAFETENSORS[kind]())
    refuse(path, tmp_path / "ran")


def test_there_are_enough_and_harmless_ones_still_load(tmp_path):
    assert len(PICKLES) + len(TORCH_FILES) + len(SAFETENSORS) >= 30
    (tmp_path / "good.pkl").write_bytes(WHOLE)
    np.testing.assert_array_equal(pickles.read_caffe2(tmp_path / "good.pkl")["conv1_w"], VALUES)


def test_the_witness_would_be_seen(tmp_path):
    """A reader without protection runs the same files' code: the tests above can fail."""
    for kind in ("os.system", "getattr chain", "protocol 4"):
        witness = tmp_path / kind.replace(" ", "_")
        pickle.loads(PICKLES[kind](witness))
        assert witness.exists(), kind


def damaged(content, draw):
    """A file's bytes with a few changed, repeated or missing."""
    for _ in range(draw.randint(1, 4)):
        start, length = draw.randrange(len(content) or 1), draw.randint(1, 8)
        part = content[start : start + length]
        changed = draw.choice((b"", part * 2, draw.randbytes(length), content[:length]))
        content = content[:start] + changed + content[start + length :]
    return content


def fuzz(folder, seconds, tries):
    """Load damaged files of every foreign form: none may raise anything but a refusal in one line."""
    small = {"blobs": {name: VALUES for name in ("conv1_w", "conv1_b", "comp_0_spatbn_1_s")}}
    network = build_network("r2plus1d", 10, num_classes=3, width=2)
    forms = {
        ".pkl": [WHOLE, pickle.dumps(small, 2), *(make("ran") for make in PICKLES.values())],
        ".pth": [torch_file(network.state_dict()), torch_file(network.state_dict(), **LEGACY)],
        ".safetensors": [safetensors.torch.save(dict(network.state_dict()))],
    }
    draw, end, made = random.Random(0), time.monotonic() + seconds, 0
    while made < tries and time.monotonic() < end:
        suffix = draw.choice(list(forms))
        content = draw.choice([one for one in forms[suffix] if len(one) < 10**6])
        if not content:
            continue
        path = folder / f"weights{suffix}"
        path.write_bytes(damaged(content, draw))
        started = time.process_time()
        with contextlib.suppress(R21DError):
            checkpoints.load(path)
        assert time.process_time() - started < 2, path.read_bytes()[:200]
        made += 1
    return made


@pytest.mark.filterwarnings("ignore")
def test_damaged_foreign_files_are_refused_or_loaded(tmp_path):
    assert fuzz(tmp_path, seconds=60, tries=150) == 150


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_half_a_minute_of_damaged_foreign_files(tmp_path):
    assert fuzz(tmp_path, seconds=30, tries=10**6) > 150


def test_a_dict_that_holds_itself_ends(tmp_path):
    found: dict[str, object] = {"epoch": 3}
    found["model"] = found
    torch.save(found, tmp_path / "endless.pth")
    with pytest.raises(R21DError, match="is not a tensor"):
        checkpoints.load(tmp_path / "endless.pth")


def test_a_backbone_whose_norm_has_no_axis_is_refused(tmp_path):
    state = build_network("r3d", 10, num_classes=2, width=4).state_dict()
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    state["layer4.0.conv2.1.weight"] = torch.tensor(1.0)
    torch.save(state, tmp_path / "scalar.pth")
    with pytest.raises(R21DError, match="has shape"):
        checkpoints.load(tmp_path / "scalar.pth", classes=("a", "b"), replace_head=True)
