"""A name of a megabyte, with escapes and line breaks in it: no line that is printed carries it."""

import json
import re
import struct
import tarfile
import zipfile
from io import BytesIO

import numpy as np
import pytest
import safetensors.torch
import torch
from foreign_files import Python2Pickle, r2plus1d_shapes, random_blobs

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.data import hmdb51, video
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.models.networks import build_network

PLAIN = "x" * 10**6
SHORTER = "x" * 10**5  # than the longest cell that a CSV may have
LONG = f"\x1b[31mred\r\n{PLAIN}"
MOST = 1000  # characters of a line
VALUE = np.ones(1, np.float32)
ONE = torch.from_numpy(VALUE)


def network(**settings):
    return build_network("r3d", 10, num_classes=2, width=2, **settings).eval()


def pickle_of(blobs):
    """A Caffe2 pickle, whose names may have any length."""
    writer = Python2Pickle()
    writer.text = lambda text: writer.emit(b"X" + struct.pack("<i", len(text)) + text.encode("latin1"))
    return writer.file(blobs)


def torch_file(content):
    stream = BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def damaged_entry():
    """An archive with an entry of the longest name that an archive takes, and one bit of it wrong."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/" + LONG[:60_000], b"whole")
    return stream.getvalue().replace(b"whole", b"wrong")


def with_card(**changes):
    """Weights with a card in which a section has further values."""
    net, clips = network(), ClipSettings(clip_len=8, resize=(32, 40), crop=32)
    card = json.loads(Card(net.settings, clips, ("a", "b")).to_json())
    card |= {key: value if key == "classes" else card[key] | value for key, value in changes.items()}
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    return safetensors.torch.save(tensors, {"r21d": json.dumps(card)})


SMALL = {name: tensor.contiguous() for name, tensor in network().state_dict().items()}
BLOBS = random_blobs(r2plus1d_shapes(18, 2, width=4))
REFUSED = {
    "blob.pkl": lambda: pickle_of({**BLOBS, LONG: VALUE}),
    "no array.pkl": lambda: b"\x80\x02}X" + struct.pack("<i", len(LONG)) + LONG.encode() + b"K\x01s.",
    "global.pkl": lambda: b"\x80\x02cos\n" + LONG.replace("\n", "").encode() + b"\n.",
    "tensor.pth": lambda: torch_file({**SMALL, LONG: ONE}),
    "prefixes.pth": lambda: torch_file({f"{n}\x1b{PLAIN}.layer1.0.x": ONE for n in range(9)}),
    "no tensor.pth": lambda: torch_file({**SMALL, LONG: 1}),
    "sparse.pth": lambda: torch_file({**SMALL, LONG: torch.eye(3).to_sparse()}),
    "entry.pth": damaged_entry,
    "tensor.safetensors": lambda: safetensors.torch.save({**SMALL, LONG: ONE}),
    "prefixed.safetensors": lambda: safetensors.torch.save(
        {f"\x1b{PLAIN}.{name}": torch.ones(1) for name in ("layer1.0.conv1.0.weight", "stem.0.weight")}
    ),
    "setting.safetensors": lambda: with_card(network={LONG: 1}),
    "value.safetensors": lambda: with_card(network={"name": LONG}),
    "class.safetensors": lambda: with_card(classes=[LONG, "b"]),
}
LOADED = {
    "momentum.pkl": lambda: pickle_of({**BLOBS, **{f"\x1b{n}{PLAIN}_momentum": VALUE for n in "ab"}}),
    "beside.pth": lambda: torch_file({**{f"net.{n}": t for n, t in SMALL.items()}, LONG: ONE}),
    "world.safetensors": lambda: with_card(training={"data": LONG}),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "film.avi"
    video.write(path, np.zeros((9, 32, 40, 3), np.uint8))
    return path


def check(done, *statuses):
    """Check a command's end: no line is long, none steers a terminal, and one says what is wrong."""
    assert done.returncode in statuses, done.stderr[:MOST]
    assert "Traceback" not in done.stderr
    for line in re.split(r"[\r\n]", done.stdout + done.stderr):
        assert len(line) < MOST, line[:200]
        assert line.isprintable(), line[:200]
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == (done.returncode == 2), done.stderr


ALL = [*REFUSED, *LOADED]


@pytest.mark.parametrize(
    ("command", "name"),
    [*(("convert", n) for n in ALL), *((c, n) for c in ("predict", "train") for n in ALL[::5])],
)
def test_weights(r21d, build, film, tiny_data, tmp_path, command, name):
    path = tmp_path / name
    path.write_bytes({**REFUSED, **LOADED}[name]())
    words = {
        "predict": ["predict", film, "--clips", 1, "--checkpoint", path],
        "convert": ["convert", path, tmp_path / "out.safetensors"],
        "train": [
            *("train", "small_finetune", f"data={tiny_data}", f"checkpoint={path}", *TINY),
            *("width=2", "network=r2plus1d" if path.suffix == ".pkl" else "network=r3d"),
        ],
    }
    check(r21d(*words[command]), 2 if name in REFUSED else 0)


TINY = ["epochs=1", "batch_size=2", "num_clips=2", "resize=32,40", "crop=32", "clip_len=8"]
SOME = "film.avi,a,train\n"
LISTS = {
    "a video": f"video,class,subset\n{SOME}\x1b{PLAIN},a,train\n",
    "a shorter video": f"video,class,subset\n{SOME}{SHORTER},a,train\n",
    "a class": f"video,class,split1,split2\nfilm.avi,a,1,2\ngood.avi,{SHORTER},2,1\n",
    "two classes": f"video,class,subset\n{SOME}film.avi,{SHORTER},test\n",
    "a class with escapes": f'video,class,subset\nfilm.avi,a,test\ngood.avi,"\x1b\n{SHORTER}",train\n',
    "a column": f"film,\x1b{SHORTER}\nfilm.avi,a\n",
    "a part": f"video,class,subset\nfilm.avi,a,{SHORTER}\n",
    "a code": f"video,class,split1\nfilm.avi,a,{SHORTER}\n",
    "a start": f"video,class,subset,start_frm\nfilm.avi,a,test,{SHORTER}\n",
    "a group": f"video,class,start_frm,subset,group\nfilm.avi,a,1,test,{SHORTER}\nfilm.avi,a,2,test,\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_videos(r21d, build, film, tmp_path, kind):
    (tmp_path / "list.csv").write_text(LISTS[kind], newline="")
    (film.parent / "good.avi").write_bytes(film.read_bytes())
    check(r21d("prepare", "listed", tmp_path / "list.csv", "--videos", film.parent), 2)


def test_archives(r21d, build, tmp_path):
    for name in (f"wave/{LONG}.avi", f"{LONG}/wave/a.avi", f"../{LONG}", f"wave/\x1b{SHORTER}.avi"):
        with tarfile.open(tmp_path / "all.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        check(r21d("prepare", "hmdb51", tmp_path / "all.tar", "--to", tmp_path / "to"), 2)


def test_names_of_classes(r21d, build, film, tmp_path):
    (tmp_path / "names.txt").write_text(f"a\n{'x' * 10**6}\n")
    (tmp_path / "list.csv").write_text("video,class,subset\nfilm.avi,0,train\n")
    (tmp_path / "weights.pth").write_bytes(torch_file(SMALL))
    given = ("--labels", tmp_path / "names.txt")
    words = ("prepare", "listed", tmp_path / "list.csv", "--videos", film.parent)
    check(r21d(*words, *given), 2)
    check(r21d("predict", film, "--checkpoint", tmp_path / "weights.pth", *given), 2)
    check(r21d("convert", tmp_path / "weights.pth", tmp_path / "out.safetensors", *given), 2)


def test_a_list_of_files(r21d, build, film, tmp_path):
    for names in (LONG[8:], f"{film}\n{'x' * 10**6}"):
        (tmp_path / "list.txt").write_text(names)
        done = r21d("predict", tmp_path / "list.txt", "--clips", 1)
        assert done.stderr.count("error: ") == 1
        check(done, 1, 2)


@pytest.mark.parametrize("file", ["classes.txt", "split1.csv", "groups.csv", "starts.csv"])
def test_a_data_set(r21d, build, film, tmp_path, file):
    data = tmp_path / "data"
    for name in ("a", "b"):
        (data / "videos" / name).mkdir(parents=True)
        (data / "videos" / name / "film.avi").write_bytes(film.read_bytes())
    (data / "classes.txt").write_text("a\nb\n")
    (data / "split1.csv").write_text("video,subset\na/film.avi,train\nb/film.avi,test\n")
    (data / "groups.csv").write_text("video,group\na/film.avi,a\n")
    (data / "starts.csv").write_text("video,start_frm\nb/film.avi,1\n")
    good = (data / file).read_text()
    weights = checkpoints.SHIPPED / "r2plus1d_10_figures.safetensors"
    for long, cell in ((SHORTER, "train"), (LONG, "train"), ("a/film.avi", SHORTER)):
        (data / file).write_text(f'{good}"{long}","{cell}"\n', newline="")
        check(r21d("evaluate", weights, "--data", data, "--split", 1), 2)
    if file != "starts.csv":  # of test clips
        (data / file).write_text(f"{good}{LONG},train\n", newline="")
        check(r21d("train", "small_scratch", f"data={data}", *TINY), 2)


RECIPE = (checkpoints.SHIPPED.parent / "training/recipes/small_scratch.toml").read_text()


@pytest.mark.parametrize("field", ["network", "checkpoint", "data", "width", "modality", "unknown"])
def test_recipes(r21d, build, tmp_path, tiny_data, field):
    (tmp_path / "mine.toml").write_text(RECIPE)
    for value in (LONG, "x" * 10**6):
        changes = [f"data={tiny_data}", *TINY, f"{field}={value}"]
        check(r21d("train", tmp_path / "mine.toml", *changes), 2)
    key = json.dumps(LONG)
    (tmp_path / "mine.toml").write_text(f"{key} = {key}\n{RECIPE}")
    check(r21d("train", tmp_path / "mine.toml", f"data={tiny_data}"), 2)


def test_a_recipe_that_describes_itself_at_length(r21d, build, tmp_path, tiny_data):
    lines = [line for line in RECIPE.splitlines() if not line.startswith("description")]
    (tmp_path / "mine.toml").write_text("\n".join([f"description = {json.dumps(LONG)}", *lines]))
    check(r21d("train", tmp_path / "mine.toml", f"data={tiny_data}", *TINY, "width=2"), 0)
    check(r21d("recipes", tmp_path / "mine.toml"), 0)


def test_the_hub(r21d, hub, build, film, tmp_path):
    good, to = torch_file(SMALL), tmp_path / "out.safetensors"
    for number, name in enumerate((f"{PLAIN}.pth", "\x1b[31mred.pth", f"{'x' * 251}.pth")):
        one, two = f"me/one{number}", f"me/two{number}"
        hub.repos[f"models/{one}"] = {name: good}
        hub.repos[f"models/{two}"] = {name: good, "other.pt": good}
        check(
            r21d("predict", film, "--clips", 1, "--checkpoint", f"hf://{one}"), 2 if not number else 0
        )
        check(r21d("convert", f"hf://{two}", to), 2)
        check(r21d("convert", f"hf://{two}/other.pth", to), 2)
    source = hmdb51.find(None)
    hub.repos[f"datasets/{source.repo}"] = {f"hmdb51_org/climb/{'x' * 10**6}.avi": film.read_bytes()}
    check(r21d("fetch", "hmdb51", "--classes", "climb", "--to", tmp_path / "hmdb51"), 2)
