"""A folder with one poison of each kind: the others are answered, in bounded time, with exit 1."""

import csv
import json
import os
import shutil
import time

import av
import numpy as np
import pytest
from hostile_videos import FILES, tree, write_films, write_specials

from r21d_lib.data import safe_decoder, video

# Names that shells, terminals, spreadsheets and disks take amiss; all of them are good videos.
ODD_NAMES = ("=cmd|' .avi", "-rf.avi", "~x.avi", "a:b.avi", "two\nlines.avi", "\x1b[31mred.avi")
ODD_NAMES += ("l" * 240 + ".avi", os.fsdecode(b"latin\xe9.avi"), "%s{x}$y.avi", "[1-3]*.avi")
PATIENCE = 3.0  # seconds, here


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(safe_decoder, "_SECONDS_A_FRAME", PATIENCE)
    monkeypatch.setattr(safe_decoder, "_SECONDS_A_VIDEO", PATIENCE)
    monkeypatch.setattr(safe_decoder, "_SECONDS_A_BYTE", 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of every kind of poison, a good film under odd names, and notes beside them."""
    root = tmp_path_factory.mktemp("poisons")
    write_films(root)
    for name, content in FILES.items():
        (root / name).write_bytes(content())
    for name in ODD_NAMES:
        shutil.copyfile(root / "good.avi", root / name)
    with av.open(str(root / "sound.mov"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux([*stream.encode(sound), *stream.encode()])
    video.write(root / "one.avi", np.zeros((1, 32, 48, 3), np.uint8))
    write_specials(root)
    (root / "notes.md").write_text("mine")
    return root


GOOD = {"good.avi", "one.avi", *ODD_NAMES}


@pytest.mark.usefixtures("impatient")
def test_predict_answers_for_the_others(r21d, folder, tmp_path):
    before, started = tree(folder), time.monotonic()
    answers, table = tmp_path / "a.json", tmp_path / "a.csv"
    done = r21d("predict", folder, "--clips", 1, "--json", answers, "--csv", table)
    assert time.monotonic() - started < 20 * PATIENCE
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = {row["video"]: row for row in json.loads(answers.read_text())}
    told = {os.path.basename(name) for name, row in said.items() if "error" not in row}
    assert len(told) == len(GOOD)
    assert {"good.avi", "one.avi", "a:b.avi", "~x.avi"} <= told
    bad = {os.path.basename(name) for name, row in said.items() if "error" in row}
    links = {"nowhere.avi", "circle.avi"}  # dead ones: named, not passed over
    assert bad == {*FILES, "absurd.avi", "cut.avi", "codec.avi", "sound.mov", *links}
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == len(bad)
    assert f"{len(bad)} of {len(bad) + len(GOOD)} videos could not be read" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    with open(table, encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@"))]
    assert tree(folder) == before


@pytest.mark.usefixtures("impatient")
def test_features_are_written_for_the_others(r21d, folder, tmp_path):
    before = tree(folder)
    done = r21d("features", folder, "--clips", 1, "--to", tmp_path / "features")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{len(GOOD)} files written" in done.stdout
    assert len([path for path in (tmp_path / "features").rglob("*") if path.is_file()]) == len(GOOD)
    assert tree(folder) == before


@pytest.mark.usefixtures("impatient")
def test_what_is_no_file_is_one_line_each(r21d, folder, tmp_path):
    names = ("fifo.avi", "device.avi", "nowhere.avi", "circle.avi")
    places = [
        *(folder / name for name in names),
        "/dev/zero",
        "/dev/tty",
        "pipe:0",
        folder / "i%03d.png",
    ]
    (tmp_path / "list.txt").write_text("".join(f"{place}\n" for place in places))
    started = time.monotonic()
    done = r21d("predict", folder / "good.avi", *places[:4], *places[5:])
    assert (done.returncode, done.stderr.count("error: ")) == (1, len(places) - 1)
    done = r21d("predict", tmp_path / "list.txt")
    assert (done.returncode, done.stderr.count("error: ")) == (1, len(places))
    assert time.monotonic() - started < 60
