"""Your own videos: every form of list, what can be wrong with one, and a whole run from it."""

import csv
import shutil
import time
import unicodedata

import pytest
from typer.testing import CliRunner

from r21d_lib.cli.main import app
from r21d_lib.data import csv_lists, doctor, list_rows, video
from r21d_lib.data.cache import prepare
from r21d_lib.data.catalog import open_videos
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.sampling import TestClips
from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.training import recipes
from r21d_lib.training import run as runs
from r21d_lib.training.budget import measure_speed
from r21d_lib.training.run_folder import RunFolder


@pytest.fixture
def files(tmp_path, make_frames):
    """Six videos of two classes, in folders that are not their classes."""
    root = tmp_path / "source"
    for day in ("monday (1)", "tuesday #2"):
        for take in range(3):
            video.write(root / day / f"take {take}.avi", make_frames(10 + take))
    return root


NAMES = [f"{day}/take {take}.avi" for day in ("monday (1)", "tuesday #2") for take in range(3)]


def write(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def two_classes(folder, odd, even):
    """Write a list whose videos are of two classes in turn, the last two for testing."""
    rows = [
        (name, odd if i % 2 else even, "train" if i < 4 else "test") for i, name in enumerate(NAMES)
    ]
    return write(folder / "l.csv", ["video", "label", "subset"], rows)


def test_codes_of_three_splits(files, tmp_path):
    rows = [
        (name, "fall" if i < 3 else "rise", 1 + i % 2, 2 - i % 2, 0) for i, name in enumerate(NAMES)
    ]
    path = write(tmp_path / "l.csv", ["video", "label_name", "split1", "split2", "split3"], rows)
    made = csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    assert {split: dict(made.total(split)) for split in made.counts} == {
        1: {"train": 3, "test": 3},
        2: {"train": 3, "test": 3},
    }
    train = csv_lists.load(tmp_path / "mine", split=1, part="train")
    assert train.classes == ("fall", "rise")
    assert len(train) == 3
    assert video.decode(train.path(0)).shape[1:] == (48, 64, 3)
    # Both folders hold a "take 0.avi", and here they are of different classes.
    test = csv_lists.load(tmp_path / "mine", split=2, part="test")
    assert set(test.names) == set(train.names)


def test_the_real_clips_have_their_official_counts(shared_data, tmp_path):
    manifest = shared_data / "jhmdb" / "manifest.csv"
    made = csv_lists.make_folder([manifest], tmp_path / "jhmdb", videos=manifest.parent)
    assert dict(made.total(1)) == {"train": 430, "test": 175}  # one of the 606 has no code


def test_a_column_says_what_videos_were_cut_from(files, tmp_path):
    groups = ["film 1", "film 1", "", "film 2", "film 2", "film 3"]
    parts = ["train", "test", "test", "train", "test", "train"]
    labels = ["fall"] * 3 + ["rise"] * 3
    path = write(
        tmp_path / "l.csv",
        ["video", "class", "subset", "group"],
        zip(NAMES, labels, parts, groups, strict=True),
    )
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    test = csv_lists.load(tmp_path / "mine", split=1, part="test")
    assert dict(zip(test.names, test.groups, strict=True)) == {
        "fall/take 1.avi": "film 1",
        "fall/take 2.avi": "fall/take 2.avi",
        "rise/take 1.avi": "film 2",
    }
    bad = prepare(test, tmp_path / "cache", size=(24, 32), on_bad_video="report", progress=False)
    assert bad.videos.groups == test.groups


def test_groups_of_a_video_that_cannot_be_decoded_go_with_it(files, tmp_path):
    (files / NAMES[0]).write_bytes(b"no video")
    rows = [
        (name, "rise" if i == 5 else "fall", "test" if i < 3 else "train", f"film {i}")
        for i, name in enumerate(NAMES)
    ]
    path = write(tmp_path / "l.csv", ["video", "class", "subset", "group"], rows)
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    test = csv_lists.load(tmp_path / "mine", split=1, part="test")
    left = prepare(test, tmp_path / "cache", size=(24, 32), on_bad_video="report", progress=False)
    assert left.videos.groups == ("film 1", "film 2")


def test_a_video_cannot_be_in_two_groups(files, tmp_path):
    rows = [(NAMES[0], "fall", 0, "film 1"), (NAMES[0], "fall", 3, "film 2")]
    test = write(tmp_path / "test.csv", ["video", "class", "start_frm", "group"], rows)
    train = write(tmp_path / "train.csv", ["video", "class"], [(NAMES[1], "fall")])
    with pytest.raises(DatasetError, match=r"line 3: .* is in group 'film 2', before in 'film 1'"):
        csv_lists.make_folder([train], tmp_path / "mine", videos=files, test=[test])


def test_files_of_one_name_in_one_class(files, tmp_path):
    shutil.copyfile(files / NAMES[0], files / "other.avi")
    rows = [(name, "fall", "test" if i % 2 else "train") for i, name in enumerate(NAMES)]
    rows.append(("other.avi", "rise", "train"))
    path = write(tmp_path / "l.csv", ["video", "class", "subset"], rows)
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    names = csv_lists.load(tmp_path / "mine", split=1, part="train").names
    assert names == (
        *("fall/take 0.avi", "fall/take 2.avi", "fall/tuesday #2__take 1.avi"),
        "rise/other.avi",
    )


@pytest.mark.parametrize(
    ("file", "group"),
    [("figure_012_golf_f_nm_np1_ri_goo_0.avi", "figure_012"), ("v_golf_g01_c01.avi", "golf_g01")],
)
def test_a_name_tells_its_group_also_where_two_files_have_it(tmp_path, file, group):
    for place in (f"p/{file}", f"q/{file}", "x.avi"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(place)
    rows = [(f"p/{file}", "golf", "train"), (f"q/{file}", "golf", "test"), ("x.avi", "other", "train")]
    path = write(tmp_path / "l.csv", HEADER, rows)
    csv_lists.make_folder([path], tmp_path / "mine", videos=tmp_path)
    train, test = (csv_lists.load(tmp_path / "mine", split=1, part=part) for part in ("train", "test"))
    assert test.names == (f"golf/q__{file}",)
    assert (train.groups, test.groups) == ((group, "other/x.avi"), (group,))
    assert any(
        "videos of 1 same groups" in text for _, text in findings(tmp_path / "mine", decode=False)
    )


def test_a_name_of_a_class_is_one_however_its_accents_are_written(tmp_path):
    """As macOS writes the names of files, and as people and Linux write lists."""
    one, two = (unicodedata.normalize(form, "dança") for form in ("NFC", "NFD"))
    who = [unicodedata.normalize(form, "josé") for form in ("NFC", "NFD")]
    rows = []
    for take, part in enumerate(("train", "test")):
        for label in (one, two, "walk"):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{take}.avi").write_text(label + part)
            rows.append((f"{one if label == two else label}/{take}.avi", label, part, who[take]))
    rows = [row for row in rows if row[1] != one]  # a disk has `two`, and the list says `one`
    shutil.rmtree(tmp_path / one)
    path = write(tmp_path / "l.csv", [*HEADER, "group"], rows)
    for labels in (None, [two, "walk"], [one, "walk"]):
        to = tmp_path / "mine"
        csv_lists.make_folder([path], to, videos=tmp_path, labels=labels)
        train, test = (csv_lists.load(to, split=1, part=part) for part in ("train", "test"))
        assert train.classes == (one, "walk")
        assert train.names == (f"{one}/0.avi", "walk/0.avi")
        assert train.groups == test.groups == (who[0], who[0])
    with pytest.raises(DatasetError, match="--labels names 'dança' twice"):
        csv_lists.make_folder([path], tmp_path / "x", videos=tmp_path, labels=[one, two, "walk"])


def test_the_old_form_with_numbers_and_starts(files, tmp_path):
    header = ["org_video", "label", "start_frm", "video_id"]
    train = write(tmp_path / "a.csv", header[:2], [(files / NAMES[i], i // 2) for i in range(4)])
    rows = [(files / NAMES[i], i - 4, start, i) for i in (4, 5) for start in (0, 3, 6)]
    test = write(tmp_path / "b.csv", header, rows)
    csv_lists.make_folder(
        [train], tmp_path / "kinetics", videos=tmp_path, test=[test], labels=["abseiling", "zumba"]
    )
    listed = csv_lists.load(tmp_path / "kinetics", split=1, part="test")
    assert listed.classes == ("abseiling", "zumba")
    assert listed.labels == (0, 1)
    assert listed.starts == ((0, 3, 6), (0, 3, 6))
    prepared = prepare(listed, tmp_path / "cache", size=(24, 32))
    clips, _, _ = TestClips(prepared, ClipSettings(clip_len=2, resize=(24, 32), crop=24))[0]
    assert clips.shape[0] == 3
    assert (clips[1, 0].numpy() == prepared.frames(0)[3]).all()
    assert csv_lists.load(tmp_path / "kinetics", split=1, part="train").starts is None


def test_starts_of_some_test_videos_alone_are_refused(files, tmp_path):
    train = write(tmp_path / "a.csv", ["video", "label"], [(NAMES[i], "ab"[i % 2]) for i in range(4)])
    rows = [(NAMES[4], "a", 0), (NAMES[4], "a", 3), (NAMES[5], "b", "")]
    test = write(tmp_path / "b.csv", ["video", "label", "start_frm"], rows)
    message = (
        r"b\.csv, line 4: .*take 2\.avi has no start_frm, as 1 of 2 test videos of split 1: give all"
    )
    with pytest.raises(DatasetError, match=message):
        csv_lists.make_folder([train], tmp_path / "mine", videos=files, test=[test])
    assert not (tmp_path / "mine").exists()
    # A folder that was made before this was refused, and its list cut by hand.
    write(tmp_path / "b.csv", ["video", "label", "start_frm"], [*rows[:2], (NAMES[5], "b", 2)])
    csv_lists.make_folder([train], tmp_path / "mine", videos=files, test=[test])
    starts = tmp_path / "mine" / "starts.csv"
    starts.write_text("".join(starts.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(
        DatasetError, match=r"starts\.csv says .* not of b/take 2\.avi: give all of them"
    ):
        csv_lists.load(tmp_path / "mine", split=1, part="test")
    assert len(csv_lists.load(tmp_path / "mine", split=1, part="train")) == 4
    assert ("wrong", True) in [
        (level, "starts.csv" in text) for level, text in findings(tmp_path / "mine")
    ]


def test_starts_may_be_of_one_split(files, tmp_path):
    codes = [(1, 2), (1, 2), (1, 1), (2, 1), (2, 1), (1, 1)]
    rows = [
        (name, "ab"[i % 2], *code, 3 if code[0] == 2 else "")
        for i, (name, code) in enumerate(zip(NAMES, codes, strict=True))
    ]
    path = write(tmp_path / "l.csv", ["video", "label", "split1", "split2", "start_frm"], rows)
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    assert csv_lists.load(tmp_path / "mine", split=1, part="test").starts == ((3,), (3,))
    assert csv_lists.load(tmp_path / "mine", split=2, part="test").starts is None


HEADER = ["video", "label", "subset"]
GOOD = [(NAMES[0], "fall", "train"), (NAMES[1], "fall", "test"), (NAMES[3], "rise", "train")]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (["name", "label"], [], r"l\.csv has no column video or org_video"),
        (["video", "kind"], [], "has no column label_name or class or label"),
        (HEADER, [], "name no video"),
        (HEADER, GOOD[::2], "split 1 has no test video: .* with --test"),
        (
            HEADER,
            [*GOOD, GOOD[0]],
            r"line 5: monday \(1\)/take 0\.avi is listed twice, before in .*line 2",
        ),
        (HEADER, [*GOOD, (NAMES[0], "fall", "test")], "line 5: .* is listed twice"),
        (HEADER, [*GOOD, ("gone.avi", "fall", "test")], r"line 5: there is no video .*gone\.avi"),
        (HEADER, [*GOOD, (NAMES[2], "", "test")], "line 5: expected a video and its class"),
        (HEADER, [*GOOD, (NAMES[2], "fall", "validation")], "line 5: subset must be train or test"),
        (HEADER, [(n, "3", s) for n, _, s in GOOD], "give the names in a file with --labels"),
        (HEADER, [*GOOD, (NAMES[2], "../up", "test")], "cannot be a folder's name"),
        (HEADER, [*GOOD, (NAMES[2], "two\nlines", "test")], "'two.*lines' cannot be a folder's name"),
        (HEADER, [*GOOD, (NAMES[2], "two\u2028lines", "test")], "cannot be a folder's name"),
        (HEADER, [*GOOD, (NAMES[2], "\x1b[31mred", "test")], "cannot be a folder's name"),
        (
            ["video", "label", "split1"],
            [(NAMES[0], "fall", "9")],
            "line 2: a split's code must be 0, 1 or 2",
        ),
    ],
)
def test_lists_that_are_wrong(files, tmp_path, header, rows, message):
    path = write(tmp_path / "l.csv", header, rows)
    with pytest.raises(DatasetError, match=message) as caught:
        csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mine").exists()
    assert not list(tmp_path.glob(".mine*"))


TEXT = "\n".join(",".join(row) for row in (HEADER, *GOOD)) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace(",", " , ").encode(),
        TEXT.replace("/", "\\").encode(),
        TEXT.replace("video,label,subset", "Video,LABEL,Subset").replace("train", "TRAIN").encode(),
        (TEXT + "\n ,, \n\n").encode(),
    ],
    ids=[
        "mark",
        "utf-16",
        "semicolons",
        "tabs",
        "crlf",
        "blanks",
        "windows",
        "capitals",
        "empty lines",
    ],
)
def test_lists_as_programs_write_them(files, tmp_path, content):
    (tmp_path / "l.csv").write_bytes(content)
    (tmp_path / "plain.csv").write_text(TEXT)
    for name in ("plain", "l"):
        csv_lists.make_folder([tmp_path / f"{name}.csv"], tmp_path / name, videos=files)
    for part in ("train", "test"):
        wanted, got = (csv_lists.load(tmp_path / n, split=1, part=part) for n in ("plain", "l"))
        assert (got.classes, got.names, got.labels) == (wanted.classes, wanted.names, wanted.labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT.replace("rise", "Fall "),
            "classes 'Fall' and 'fall' differ by blanks",
        ),
        (TEXT.replace("rise", "fall"), "one class, 'fall': a network needs two"),
        (TEXT.replace("rise,train", "rise,test"), "no video of rise trains in split 1"),
        (TEXT.replace("fall,test", "fall,"), "line 3: subset must be train or test, got ''"),
        (TEXT.replace("fall,test", "fall"), "line 3: subset must be train or test, got ''"),
        (TEXT + '"open,fall,train\n' * 3, "is a quote left open"),
        ("film;label\na.avi;run\n", "has no column video or org_video, but film, label"),
    ],
)
def test_lists_that_would_be_misread(files, tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        csv_lists.make_folder([tmp_path / "l.csv"], tmp_path / "mine", videos=files)
    assert len(str(caught.value)) < 300
    assert not (tmp_path / "mine").exists()


def test_another_encoding_is_refused_and_not_guessed(files, tmp_path):
    (tmp_path / "l.csv").write_bytes(TEXT.replace("fall", "fußball").encode("cp1252"))
    with pytest.raises(DatasetError, match=r"l\.csv is not in UTF-8 .*: save it as UTF-8"):
        csv_lists.make_folder([tmp_path / "l.csv"], tmp_path / "mine", videos=files)


def test_a_video_of_two_classes_is_refused(files, tmp_path):
    header = ["org_video", "label", "start_frm"]
    train = write(tmp_path / "a.csv", header[:2], [(NAMES[0], "fall"), (NAMES[1], "rise")])
    test = write(tmp_path / "b.csv", header, [(NAMES[2], "fall", 0), (NAMES[2], "rise", 6)])
    with pytest.raises(DatasetError, match=r"line 3: .* is of class 'rise', and of 'fall' in"):
        csv_lists.make_folder([train], tmp_path / "mine", videos=files, test=[test])


def test_a_link_keeps_its_own_name(files, tmp_path):
    """As in a hub's cache, whose files are called by their sums."""
    links = tmp_path / "links"
    for name in NAMES:
        (links / name).parent.mkdir(parents=True, exist_ok=True)
        (links / name).symlink_to(files / name)
    (tmp_path / "l.csv").write_text(TEXT)
    csv_lists.make_folder([tmp_path / "l.csv"], tmp_path / "mine", videos=links)
    train = csv_lists.load(tmp_path / "mine", split=1, part="train")
    assert train.names == ("fall/take 0.avi", "rise/take 0.avi")
    assert video.decode(train.path(1)).shape[0] == 10


def test_a_label_that_the_file_of_labels_does_not_have(files, tmp_path):
    path = write(tmp_path / "l.csv", HEADER, [(NAMES[0], "7", "train"), (NAMES[1], "0", "test")])
    with pytest.raises(DatasetError, match="line 2: no class '7' in the file of --labels"):
        csv_lists.make_folder([path], tmp_path / "mine", videos=files, labels=["fall", "rise"])


@pytest.mark.parametrize("spelling", ["dots", "absolute", "link", "hard link"])
def test_a_file_is_listed_once_however_it_is_spelled(files, tmp_path, spelling):
    """Else a network could be tested on what it has learnt from."""
    other = {
        "dots": f"./{NAMES[0]}",
        "absolute": str(files / NAMES[0]),
        "link": "link.avi",
        "hard link": "hard.avi",
    }[spelling]
    if spelling == "link":
        (files / other).symlink_to(files / NAMES[0])
    elif spelling == "hard link":
        (files / other).hardlink_to(files / NAMES[0])
    path = write(tmp_path / "l.csv", HEADER, [*GOOD, (other, "fall", "test")])
    with pytest.raises(DatasetError, match=r"line 5: it is the file of .*line 2, too: list it once"):
        csv_lists.make_folder([path], tmp_path / "mine", videos=files)


def test_a_folder_that_is_something_else_is_not_replaced(files, tmp_path):
    path = write(tmp_path / "l.csv", HEADER, GOOD)
    (files / "classes.txt").write_text("fall\nrise\n")  # does not make it one of ours
    with pytest.raises(SettingsError, match="which r21d did not put there: choose another folder"):
        csv_lists.make_folder([path], files, videos=files)
    assert len(list(files.rglob("*.avi"))) == 6
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)  # its own, again
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"holds notes\.txt, which r21d did not put there"):
        csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


def test_a_list_as_long_as_kinetics(tmp_path):
    """240,000 rows are read in seconds; the files are one, linked under many names."""
    videos_folder = tmp_path / "v"
    videos_folder.mkdir()
    (videos_folder / "one.avi").write_bytes(b"x")
    rows = {}
    path = write(
        tmp_path / "l.csv",
        ["org_video", "label"],
        [(f"{i:06}.avi", i % 400) for i in range(240_000)],
    )
    started = time.process_time()  # of this process alone, whatever else the machine does
    list_rows.read(path, "train", rows)
    assert len(rows) == 240_000
    assert time.process_time() - started < 10


def test_from_the_list_to_the_scores_by_the_commands(files, tmp_path, build):
    """What the README tells people to do with their own videos."""
    from typer.testing import CliRunner

    rows = [
        (name, "fall" if i < 3 else "rise", 2 if i in (2, 5) else 1) for i, name in enumerate(NAMES)
    ]
    path = write(tmp_path / "l.csv", ["video", "label", "split1"], rows)

    def r21d(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    said = r21d("prepare", "listed", path, "--videos", files, "--name", "mine")
    assert "split 1: 4 training and 2 test videos" in said
    r21d("train", "small_scratch", "data=mine", "epochs=1", "batch_size=2", "width=4", "network=r3d")
    (run,) = (build / "runs").iterdir()
    assert run.name == "small_scratch_mine_r3d_1epochs_split1_seed0"
    assert RunFolder.find(run.name).recipe().training.epochs == 1
    assert RunFolder.find("small_scratch_mine").recipe().width == 4
    said = r21d("evaluate", run, "--clips", 3)
    assert "split 1, 2 videos" in said
    assert "video@1" in said
    assert (run / "scores_split1_3clips.npz").is_file()
    said = r21d("evaluate", run, run.name, "--dense-step", 2, "--crops", 3)
    assert "mean" in said

    # Without the recipe nobody knows which videos the network has learnt from.
    loose = tmp_path / "loose"
    shutil.copytree(run, loose)
    (loose / "recipe.json").unlink()
    with pytest.raises(DatasetError, match=r"it has no recipe\.json, so on what it was trained"):
        runs.evaluate(str(loose))
    with pytest.raises(DatasetError, match="lies in no run's folder"):
        runs.evaluate(str(loose / "last.safetensors"), data="mine")
    listed = open_videos("mine", split=1, part="test")
    assert runs.evaluate(str(run / "last.safetensors")).scores.names == listed.names
    assert runs.evaluate(str(loose / "last.safetensors"), data="mine", split=1).split == 1
    assert open_videos("mine", split=1, part="test").name == "mine split 1 test"


def test_long_work_shows_a_bar_and_short_work_none(files, tmp_path, monkeypatch, capsys):
    path = two_classes(tmp_path, "fall", "rise")
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    assert capsys.readouterr().err == ""
    bar = csv_lists.tqdm
    monkeypatch.setattr(csv_lists, "tqdm", lambda *its, delay, **how: bar(*its, **how))
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    said = capsys.readouterr().err
    assert "look for: 100%" in said
    assert "link: 100%" in said
    assert "6/6" in said


def test_missing_videos_are_counted_and_left_out_where_asked(files, tmp_path):
    gone = [f"gone {i}.avi" for i in range(5)]
    rows = [(n, "fall" if i % 2 else "rise", "train" if i < 4 else "test") for i, n in enumerate(NAMES)]
    rows += [(name, "fall", "train") for name in gone]
    path = write(tmp_path / "l.csv", ["video", "label", "subset"], rows)
    with pytest.raises(DatasetError, match=r"line 8: there is no video .*gone 0.avi \(5 of 11 listed"):
        csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    made = csv_lists.make_folder([path], tmp_path / "mine", videos=files, skip_missing=True)
    assert made.missing == tuple(gone)
    assert dict(made.total(1)) == {"train": 4, "test": 2}
    assert len(open_videos(str(tmp_path / "mine"), split=1, part="train")) == 4


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("gofl", "golf", True),
        ("pullup", "pullups", True),
        ("swim", "swin", True),
        ("run", "sun", False),  # short names are alike by nature
        ("stand", "standing", False),
        ("golf", "fall", False),
    ],
)
def test_class_names_that_a_slip_makes_are_told(files, tmp_path, one, other, alike):
    path = two_classes(tmp_path, one, other)
    made = csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    assert made.alike == (((min(one, other), max(one, other)),) if alike else ())


@pytest.mark.parametrize("other", ["Pull up", "pull_up", "PULL-UP"])
def test_class_names_that_differ_by_marks_are_refused(files, tmp_path, other):
    path = two_classes(tmp_path, "pull up", other)
    with pytest.raises(DatasetError, match="differ by blanks, marks and capitals alone"):
        csv_lists.make_folder([path], tmp_path / "mine", videos=files)


def test_a_folder_of_class_folders_is_split_by_group(tmp_path, make_frames):
    root = tmp_path / "clips"
    frames = make_frames(10)
    for label in ("fall", "rise"):
        for group in range(10):
            for take in range(2):
                video.write(root / label / f"v_{label}_g{group:02}_c{take:02}.avi", frames)
    video.write(root / "rise" / "._hidden.avi", frames)
    made = csv_lists.make_folder([root], tmp_path / "mine", videos=tmp_path)
    assert made.counts == {1: {"fall": {"train": 14, "test": 6}, "rise": {"train": 14, "test": 6}}}
    train, test = (
        open_videos(str(tmp_path / "mine"), split=1, part=part) for part in ("train", "test")
    )
    assert not set(train.groups) & set(test.groups)
    again = csv_lists.make_folder([root], tmp_path / "again", videos=tmp_path)
    assert again.counts == made.counts
    assert open_videos(str(tmp_path / "again"), split=1, part="test").names == test.names


def test_groups_of_a_folder_may_be_folders(tmp_path, make_frames):
    root = tmp_path / "clips"
    for label in ("fall", "rise"):
        for person in ("ann", "bob", "eve"):
            video.write(root / label / person / "take.avi", make_frames(10))
    csv_lists.make_folder([root], tmp_path / "mine", videos=tmp_path)
    train, test = (
        open_videos(str(tmp_path / "mine"), split=1, part=part) for part in ("train", "test")
    )
    assert (len(train), len(test)) == (4, 2)
    assert set(train.groups) | set(test.groups) == {"ann", "bob", "eve"}
    assert not set(train.groups) & set(test.groups)  # who falls and rises is one person


def findings(data, **options):
    return [(f.level, f.text) for f in doctor.examine(str(data), progress=False, **options)]


def test_the_doctor_finds_nothing_wrong_with_a_whole_data_set(files, tmp_path):
    path = two_classes(tmp_path, "fall", "rise")
    # The takes of both days are equal files here: other pictures make other videos of them.
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    told = findings(tmp_path / "mine", decode=False)
    assert [text for _, text in told if "same videos" not in text] == []


def test_the_doctor_names_what_leaks_is_gone_or_broken(files, tmp_path):
    header = ["video", "label", "subset", "group"]
    rows = [
        (n, "fall" if i % 2 else "rise", "train" if i < 4 else "test", "one")
        for i, n in enumerate(NAMES)
    ]
    csv_lists.make_folder([write(tmp_path / "l.csv", header, rows)], tmp_path / "mine", videos=files)
    text = " ".join(
        text for level, text in findings(tmp_path / "mine", decode=False) if level == "wrong"
    )
    assert "trains and tests on videos of 1 same groups (one)" in text
    assert "trains and tests on" in text
    assert "same videos under other names" in text
    (files / NAMES[0]).write_bytes((files / NAMES[0]).read_bytes()[:900])
    broken = " ".join(text for level, text in findings(tmp_path / "mine") if level == "wrong")
    assert "take 0.avi" in broken
    (files / NAMES[0]).unlink()
    assert any("absent" in text for _, text in findings(tmp_path / "mine", decode=False))


def test_the_commands_tell_a_table_of_the_classes_and_check_the_result(files, tmp_path, monkeypatch):
    path = two_classes(tmp_path, "golf", "gofl")
    to = tmp_path / "mine"
    done = CliRunner().invoke(
        app, ["prepare", "listed", str(path), "--videos", str(files), "--to", str(to)]
    )
    assert done.exit_code == 0
    assert "split 1 train" in done.output
    assert "classes 'gofl' and 'golf' differ by one slip" in done.output
    checked = CliRunner().invoke(app, ["doctor", str(to), "--no-decode"])
    assert checked.exit_code in (0, 1)
    assert isinstance(CliRunner().invoke(app, ["doctor", "nothing"]).exception, DatasetError)


def test_a_few_videos_fit_into_minutes(files, tmp_path):
    path = two_classes(tmp_path, "fall", "rise")
    csv_lists.make_folder([path], tmp_path / "mine", videos=files)
    changes = [f"data={tmp_path / 'mine'}", "width=2", "batch_size=16", "resize=16,16", "crop=16"]
    recipe = recipes.read("small_scratch", changes)
    network = recipe.build(2)
    assert measure_speed(network, recipe.videos("train"), recipe, seconds=0.5) > 0
