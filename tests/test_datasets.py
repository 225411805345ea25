"""Lists, the decode-once cache and its clips, and every way in which a data set can be wrong."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from r21d_lib.clips import ClipSettings
from r21d_lib.datasets import action_figures, hmdb51, listed
from r21d_lib.datasets.prepared import EpochSampler, TestClips, TrainClips, prepare
from r21d_lib.errors import DatasetError, SettingsError, VideoError
from r21d_lib.files import DATA_SPLITS

SETTINGS = ClipSettings(clip_len=4, stride=2, resize=(24, 32), crop=16)


@pytest.fixture
def copied(tiny_dataset, tmp_path):
    shutil.copytree(tiny_dataset.root, tmp_path / "videos")
    return dataclasses.replace(tiny_dataset, root=tmp_path / "videos")


@pytest.mark.parametrize("split", [1, 2, 3])
def test_hmdb51_lists_are_the_official_counts(split):
    classes, parts = listed.read_split(DATA_SPLITS / "hmdb51", split)
    hmdb51.check_counts(classes, parts, split)
    assert list(parts.values()).count("train") == 3570
    assert list(parts.values()).count("test") == 1530


def test_hmdb51_lists_are_those_of_the_official_files(shared_data, tmp_path):
    written = listed.convert_splits(shared_data / "hmdb51_splits", tmp_path, dataset="hmdb51")
    assert len(written) == 4
    for path in written:
        assert path.read_bytes() == (DATA_SPLITS / "hmdb51" / path.name).read_bytes()


def test_official_and_own_form_hold_the_same(tmp_path):
    classes, parts = listed.read_split(DATA_SPLITS / "hmdb51", 1)
    listed.write_official(tmp_path, 1, classes, parts)
    assert listed.read_official(tmp_path, 1) == (classes, parts)


def test_figures_lists_in_the_repository_are_what_the_generator_writes(tmp_path):
    from r21d_lib.datasets.action_figures import generation

    clips = generation._plan("target", 100, 0)
    generation._write_splits(tmp_path, clips, "target")
    for split in listed.SPLITS:
        own = listed.read_split(DATA_SPLITS / "action_figures", split)
        assert own == listed.read_official(tmp_path, split)
    assert own[0] == tuple(sorted(action_figures.TARGET_CLASSES))


def test_counts_that_are_not_hmdb51s():
    classes, parts = listed.read_split(DATA_SPLITS / "hmdb51", 1)
    short = dict(list(parts.items())[1:])
    with pytest.raises(DatasetError, match="69 train videos of brush_hair"):
        hmdb51.check_counts(classes, short, 1)


def test_a_listed_video_is_absent(copied):
    copied.path(5).unlink()
    with pytest.raises(DatasetError, match=r"take\)!_1\.avi is listed in tiny and absent \(1 of 8"):
        listed.check_files(copied)


def test_a_class_folder_is_empty(copied):
    for path in (copied.root / "right").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"right holds no clip: put the videos of class 'right'"):
        listed.check_files(copied)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(DatasetError, match="no folder"):
        hmdb51.load(tmp_path / "nowhere", split=1, part="test")


@pytest.mark.parametrize(("split", "part"), [(4, "test"), (1, "validation")])
def test_no_such_split(tmp_path, split, part):
    with pytest.raises(SettingsError, match="choose 1, 2 or 3, train or test"):
        listed.load(tmp_path, dataset="hmdb51", split=split, part=part)


@pytest.mark.parametrize("line", ["jump_1.avi 3", "jump_1.avi", "1"])
def test_a_wrong_line_in_an_official_list(tmp_path, line):
    (tmp_path / "jump_test_split1.txt").write_text(f"jump_0.avi 1 \n{line}\n")
    with pytest.raises(DatasetError, match="line 2"):
        listed.read_official(tmp_path, 1)


def test_a_wrong_line_in_our_list(tmp_path):
    (tmp_path / "classes.txt").write_text("jump\n")
    (tmp_path / "split1.csv").write_text("video,subset\njump/a.avi,train\nrun/b.avi,train\n")
    with pytest.raises(DatasetError, match="line 3"):
        listed.read_split(tmp_path, 1)


def test_every_video_is_decoded_once_and_again_when_it_changed(copied, tmp_path):
    prepared = prepare(copied, tmp_path / "cache", size=(24, 32), workers=2)
    assert [len(prepared.frames(i)) for i in range(8)] == [16, 17, 18, 19] * 2
    assert prepared.frames(0).shape[1:] == (24, 32, 3)
    files = sorted((tmp_path / "cache").rglob("*.npy"))
    before = [f.stat().st_mtime_ns for f in files]
    prepare(copied, tmp_path / "cache", size=(24, 32))
    assert [f.stat().st_mtime_ns for f in files] == before
    copied.path(3).touch()
    prepare(copied, tmp_path / "cache", size=(24, 32))
    assert sum(f.stat().st_mtime_ns != b for f, b in zip(files, before, strict=True)) == 1


def test_a_broken_video_stops_the_cache_and_leaves_nothing_half_written(copied, tmp_path):
    copied.path(2).write_bytes(b"garbage")
    with pytest.raises(VideoError, match=r"take\)!_2\.avi is not a readable video"):
        prepare(copied, tmp_path / "cache", size=(24, 32), workers=1)
    left = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert all(p.suffix == ".npy" and "partial" not in p.name for p in left)


@pytest.fixture(scope="module")
def prepared(tiny_dataset, tmp_path_factory):
    return prepare(tiny_dataset, tmp_path_factory.mktemp("cache"), size=(24, 32), workers=1)


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
        sampler = EpochSampler(len(prepared), seed=5)
        sampler.set_epoch(3)
        loader = DataLoader(
            TrainClips(prepared, SETTINGS, seed=5), 3, sampler=sampler, num_workers=workers
        )
        batches.append(list(loader))
    for (a, la), (b, lb) in zip(*batches, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(la, lb)


def test_an_epoch_visits_every_video_in_an_order_of_its_own():
    sampler = EpochSampler(10, seed=0)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        numbers = list(sampler)
        assert sorted(numbers) == list(range(10 * epoch, 10 * epoch + 10))
        orders.append([n % 10 for n in numbers])
    assert orders[0] != orders[1] != orders[2]


def test_test_clips(prepared):
    clips, label, index = TestClips(prepared, SETTINGS, num_clips=10)[2]
    assert clips.shape == (10, 4, 24, 32, 3)
    assert (label, index) == (0, 2)
    assert torch.equal(clips[0, 0], torch.from_numpy(np.array(prepared.frames(2)[0])))
    assert torch.equal(clips[9, 3], torch.from_numpy(np.array(prepared.frames(2)[-1])))
