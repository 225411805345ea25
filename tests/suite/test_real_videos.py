"""benchmarks/real_videos.py: its lists of two manifests, and its study of several splits."""

import importlib
from dataclasses import replace

import pytest
from planted_studies import planted

from r21d_lib.suite.repository import BENCHMARKS


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("real_videos")


def test_a_list_holds_one_data_set_and_another_all_other_clips(study, tmp_path, monkeypatch):
    head = "video,label,set,group,split1,split2,split3"
    real = [
        head,
        "ucf6/Surfing/v_Surfing_g01_c02.mp4,Surfing,ucf6,g01,test,train,train",
        "tennis7/smash/smash1.mp4,smash,tennis7,,train,train,train",
        "ut6/hug/set1_seq10_58_10_1.mp4,hug,ut6,set1_seq10,test,train,train",
    ]
    jhmdb = ["label_name,video,split1,split2,split3", "walk,walk/a_walk_f_cm_np1_ba_goo_0.avi,1,2,0"]
    for name, lines in (("real", real), ("jhmdb", jhmdb)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(study, "BUILD", tmp_path)
    commands = []
    monkeypatch.setattr(study, "r21d", lambda *words, threads: commands.append(words))
    study.prepare(tmp_path, "ucf6", 1)
    own, others = ((tmp_path / f"real_videos_ucf6{end}.csv").read_text() for end in ("", "_others"))
    assert own.splitlines()[1:] == ["Surfing,real/ucf6/Surfing/v_Surfing_g01_c02.mp4,,2,1,1"]
    assert others.splitlines()[1:] == [
        "hmdb51 walk,jhmdb/walk/a_walk_f_cm_np1_ba_goo_0.avi,,1,0,0",
        "tennis7 smash,real/tennis7/smash/smash1.mp4,,1,0,0",
        "ut6 hug,real/ut6/hug/set1_seq10_58_10_1.mp4,set1_seq10,2,0,0",
    ]
    assert [words[-1] for words in commands] == ["real_videos_ucf6", "real_videos_ucf6_others"]


def test_what_is_right_in_several_splits_is_added_film_by_film(study):
    first = planted({"r3d": 0.5, "r2d": 0.5}, seeds=2, unit="films")
    second = planted({"r3d": 0.9}, seeds=2, unit="films", draw=1)
    second = replace(second, groups={name.replace("group 0", "other"): 12 for name in first.groups})
    both = study.pooled([first, second])
    assert both.networks == ["r3d"]  # the other was not run on the second split
    assert both.groups == {**dict.fromkeys(first.groups, 24), "group 0": 12, "other": 12}
    hits = [dict(zip(its.groups, its.runs[0]["hits"], strict=True)) for its in (first, second, both)]
    assert hits[2]["group 3"] == hits[0]["group 3"] + hits[1]["group 3"]
    assert (hits[2]["group 0"], hits[2]["other"]) == (hits[0]["group 0"], hits[1]["other"])
    mean = both.standings().loc["R3D", "mean"]
    assert mean == pytest.approx(0.7, abs=0.05)
