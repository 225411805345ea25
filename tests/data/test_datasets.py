"""Lists, the decode-once cache and its clips, and every way in which a data set can be wrong."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from r21d_lib.data import action_figures, hmdb51, lists, video
from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.sampling import TestClips, TrainBatches, TrainClips
from r21d_lib.errors import DatasetError, SettingsError
from r21d_lib.files import DATA_SPLITS

SETTINGS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=16)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_hmdb51_lists_are_the_official_counts(split):
    classes, parts = lists.read_split(DATA_SPLITS / "hmdb51", split)
    hmdb51.check_counts(classes, parts, split)
    assert list(parts.values()).count("train") == 3570
    assert list(parts.values()).count("test") == 1530


def test_hmdb51_lists_are_those_of_the_official_files(shared_data, tmp_path):
    written = lists.convert_splits(
        shared_data / "hmdb51_splits", tmp_path, dataset="hmdb51", check=hmdb51.check_counts
    )
    assert len(written) == 4
    for path in written:
        assert path.read_bytes() == (DATA_SPLITS / "hmdb51" / path.name).read_bytes()


def test_official_and_own_form_hold_the_same(tmp_path):
    classes, parts = lists.read_split(DATA_SPLITS / "hmdb51", 1)
    lists.write_official(tmp_path, 1, classes, parts)
    assert lists.read_official(tmp_path, 1) == (classes, parts)


def test_figures_lists_in_the_repository_are_what_the_generator_writes(tmp_path):
    from r21d_lib.data.action_figures import generation

    clips = generation._plan("target", 100, 0)
    generation._write_splits(tmp_path, clips, "target")
    for split in lists.SPLITS:
        own = lists.read_split(DATA_SPLITS / "action_figures", split)
        assert own == lists.read_official(tmp_path, split)
    assert own[0] == tuple(sorted(action_figures.TARGET_CLASSES))


def test_counts_that_are_not_hmdb51s():
    classes, parts = lists.read_split(DATA_SPLITS / "hmdb51", 1)
    short = dict(list(parts.items())[1:])
    with pytest.raises(DatasetError, match="69 train videos of brush_hair"):
        hmdb51.check_counts(classes, short, 1)


def test_a_listed_video_is_absent(copied):
    copied.path(5).unlink()
    with pytest.raises(DatasetError, match=r"take\)!_1\.avi is listed in tiny and absent \(1 of 8"):
        lists.check_files(copied)


def test_a_class_folder_is_empty(copied):
    for path in (copied.root / "right").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"right holds no clip: put the videos of class 'right'"):
        lists.check_files(copied)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(DatasetError, match="no folder"):
        hmdb51.load(tmp_path / "nowhere", split=1, part="test")


@pytest.mark.parametrize(("split", "part"), [(4, "test"), (1, "validation")])
def test_no_such_split(tmp_path, split, part):
    with pytest.raises(SettingsError, match="choose 1, 2 or 3, train or test"):
        lists.load(tmp_path, dataset="hmdb51", split=split, part=part)


@pytest.mark.parametrize("line", ["jump_1.avi 3", "jump_1.avi", "1"])
def test_a_wrong_line_in_an_official_list(tmp_path, line):
    (tmp_path / "jump_test_split1.txt").write_text(f"jump_0.avi 1 \n{line}\n")
    with pytest.raises(DatasetError, match="line 2"):
        lists.read_official(tmp_path, 1)


def test_a_wrong_line_in_our_list(tmp_path):
    (tmp_path / "classes.txt").write_text("jump\n")
    (tmp_path / "split1.csv").write_text("video,subset\njump/a.avi,train\nrun/b.avi,train\n")
    with pytest.raises(DatasetError, match="line 3"):
        lists.read_split(tmp_path, 1)


def test_a_class_name_may_hold_a_space(tmp_path):
    (tmp_path / "classes.txt").write_text("air drumming\njump\n")
    (tmp_path / "split1.csv").write_text("video,subset\nair drumming/a b.avi,train\n")
    expected = ("air drumming", "jump"), {"air drumming/a b.avi": "train"}
    assert lists.read_split(tmp_path, 1) == expected


def test_a_video_listed_twice_in_our_list(tmp_path):
    (tmp_path / "classes.txt").write_text("jump\n")
    (tmp_path / "split1.csv").write_text("video,subset\njump/a.avi,train\njump/a.avi,test\n")
    with pytest.raises(DatasetError, match=r"line 3: jump/a\.avi is listed twice, before in train"):
        lists.read_split(tmp_path, 1)


def test_a_split_without_test_videos(copied, tmp_path, monkeypatch):
    monkeypatch.setattr(lists, "DATA_SPLITS", tmp_path)
    lists.write_split(tmp_path / "tiny", 1, copied.classes, dict.fromkeys(copied.names, "train"))
    assert lists.load(copied.root, dataset="tiny", split=1, part="train").names == copied.names
    with pytest.raises(DatasetError, match="tiny split 1 lists no test video"):
        lists.load(copied.root, dataset="tiny", split=1, part="test")


def write_csv_lists(folder, *, train="jump,jump/a.avi", test="jump,jump/b.avi", last=None):
    for split in lists.SPLITS:
        for part, row in (("train", train), ("test", (split == 3 and last) or test)):
            (folder / f"tiny_split{split}_{part}.csv").write_text(f"label_name,video\n{row}\n")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (dict(test="jump,jump/a.avi"), r"line 2: jump/a\.avi is listed twice, before in train"),
        (dict(test="run,jump/b.avi"), r"line 2: expected label_name and video"),
        (dict(test="jump"), r"line 2: expected label_name and video"),
        (dict(last="run,run/b.avi"), r"splits 1 and 3 .* have different classes"),
    ],
)
def test_wrong_csv_lists_are_refused_and_nothing_is_written(tmp_path, rows, message):
    write_csv_lists(tmp_path, **rows)
    with pytest.raises(DatasetError, match=message):
        lists.convert_splits(tmp_path, tmp_path / "out", dataset="tiny")
    assert not (tmp_path / "out").exists()


def test_a_missing_csv_list(tmp_path):
    write_csv_lists(tmp_path)
    (tmp_path / "tiny_split2_test.csv").unlink()
    with pytest.raises(DatasetError, match=r"no list .*tiny_split2_test\.csv"):
        lists.convert_splits(tmp_path, tmp_path / "out", dataset="tiny")


def test_a_video_in_both_parts_of_an_official_list(tmp_path):
    (tmp_path / "jump_test_split1.txt").write_text("a.avi 1 \nb.avi 0 \na.avi 2 \n")
    with pytest.raises(DatasetError, match=r"line 3: jump/a\.avi is listed twice, before in train"):
        lists.read_official(tmp_path, 1)


def test_no_official_lists(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no <class>_test_split1\.txt"):
        lists.convert_splits(tmp_path / "nowhere", tmp_path, dataset="tiny")


@pytest.fixture(scope="module")
def prepared(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=(24, 32))


def test_a_video_shorter_than_the_clip_loops(tmp_path, make_frames):
    video.write(tmp_path / "videos" / "jump" / "short.avi", make_frames(3))
    names = ("jump/short.avi",)
    short = lists.VideoList("short", ("jump",), tmp_path / "videos", names, (0,))
    settings = ClipSettings(clip_len=8, stride=1, resize=(24, 32), crop=16)
    prepared = prepare(short, tmp_path / "cache", size=(24, 32))
    frames = torch.from_numpy(np.array(prepared.frames(0)))
    looped = frames[[0, 1, 2, 0, 1, 2, 0, 1]]
    assert torch.equal(TrainClips(prepared, settings)[0][0], looped)
    assert torch.equal(
        TestClips(prepared, settings, num_clips=3)[0][0], looped.expand(3, -1, -1, -1, -1)
    )


@pytest.mark.parametrize("dataset", [TrainClips, TestClips])
def test_clips_can_be_sent_to_spawned_workers(prepared, dataset):
    # As DataLoader does on macOS and Windows.
    original = dataset(prepared, SETTINGS)
    copy = pickle.loads(pickle.dumps(original))
    assert torch.equal(copy[5][0], original[5][0])


def test_training_clips_are_consecutive_and_jitter_by_epoch(prepared):
    dataset = TrainClips(prepared, SETTINGS, seed=0)
    starts = set()
    for epoch in range(12):
        clip, label = dataset[epoch * len(prepared) + 7]
        assert label == 1
        frames = torch.from_numpy(np.array(prepared.frames(7)))
        found = [s for s in range(13) if torch.equal(frames[s : s + 7 : 2], clip)]
        assert found, "the clip is not 4 frames, 2 apart"
        starts.update(found)
    assert len(starts) > 3


def test_workers_do_not_change_a_number(prepared):
    batches = []
    for workers in (0, 2):
        sampler = TrainBatches(len(prepared), 3, 3, seed=5)
        sampler.start_at(3)
        loader = DataLoader(
            TrainClips(prepared, SETTINGS, seed=5), batch_sampler=sampler, num_workers=workers
        )
        batches.append(list(loader))
    for (a, la), (b, lb) in zip(*batches, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(la, lb)


def test_a_round_visits_every_video_in_an_order_of_its_own():
    sampler = TrainBatches(10, 5, 2, seed=0)
    orders = []
    for epoch in range(3):
        sampler.start_at(epoch)
        numbers = [number for batch in sampler for number in batch]
        assert sorted(numbers) == list(range(10 * epoch, 10 * epoch + 10))
        orders.append([n % 10 for n in numbers])
    assert orders[0] != orders[1] != orders[2]


def test_test_clips(prepared):
    clips, label, index = TestClips(prepared, SETTINGS, num_clips=10)[2]
    assert clips.shape == (10, 4, 24, 32, 3)
    assert (label, index) == (0, 2)
    assert torch.equal(clips[0, 0], torch.from_numpy(np.array(prepared.frames(2)[0])))
    assert torch.equal(clips[9, 3], torch.from_numpy(np.array(prepared.frames(2)[-1])))


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "April_09"),
        ("run/metacafe_coolsoccer_run_f_cm_np10_le_bad_2.avi", "metacafe_coolsoccer"),
        ("walk/figure_012_walk_f_nm_np1_fr_med_0.avi", "figure_012"),
        ("YoYo/v_YoYo_g25_c03.avi", "YoYo_g25"),
        ("fall/take 1.avi", "fall/take 1.avi"),
    ],
)
def test_names_say_what_a_video_was_cut_from(name, group):
    assert lists.group_of(name) == group


def test_every_name_of_hmdb51_says_its_film():
    names = lists.read_split(hmdb51.official.FOLDER, 1)[1]
    films = {name: lists.group_of(name) for name in names}
    assert not [name for name, film in films.items() if film == name]
    assert len(set(films.values())) < len(names) / 2


def test_groups_must_fit_the_videos(tmp_path):
    with pytest.raises(DatasetError, match="1 groups do not fit 2 videos"):
        lists.VideoList("two", ("a",), tmp_path, ("a/1", "a/2"), (0, 0), groups=("x",))
