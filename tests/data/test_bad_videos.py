"""Two hundred damaged videos: each is reported by its name, and nothing else suffers."""

import random
import re
from pathlib import Path

import av
import numpy as np
import pytest

from r21d_lib.data import video
from r21d_lib.data.cache import prepare
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.lists import VideoList
from r21d_lib.errors import DatasetError
from r21d_lib.evaluation.protocol import score_videos
from r21d_lib.models.networks import build_network

SIZE = (24, 32)
KINDS = ("cut", "mended", "lost", "flipped", "zeroed", "empty", "text", "sound", "absurd")


def mutate(kind: str, content: bytes, random: random.Random, path: Path) -> None:
    """Write a damaged copy of an .avi."""
    data = bytearray(content)
    frames = content.index(b"movi") + 4  # before it stands the header
    last = content.index(b"idx1")
    if kind == "cut":
        del data[random.randrange(20, len(data)) :]
    elif kind == "mended":  # cut, and the length in the header made to fit
        del data[random.randrange(frames + 300, last) :]
        data[4:8] = (len(data) - 8).to_bytes(4, "little")
    elif kind == "lost":  # one frame's record says that it is empty
        records = [m.start() for m in re.finditer(rb"00dc(?!\0{4})", content[:last])]
        place = random.choice(records) + 4
        data[place : place + 4] = bytes(4)
    elif kind == "flipped":
        for _ in range(random.randrange(3, 30)):
            data[random.randrange(frames, last)] ^= 1 << random.randrange(8)
    elif kind == "zeroed":
        start = random.randrange(frames, last - 300)
        data[start : start + 300] = bytes(300)
    elif kind == "empty":
        data = bytearray(random.randrange(2) * 5000)  # no byte at all, or only zeros
    elif kind == "text":
        data = bytearray(b"This is not a video, whatever its name says.\n" * random.randrange(1, 500))
    elif kind == "absurd":  # width and height, in the main header and in the stream's
        for place in (content.index(b"avih") + 40, content.index(b"strf") + 12):
            data[place : place + 8] = (60000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    if kind == "sound":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
            sound.sample_rate = 8000
            container.mux([*stream.encode(sound), *stream.encode()])


@pytest.fixture(scope="module")
def mutated(tmp_path_factory, make_noise) -> tuple[VideoList, dict[str, str]]:
    """Return 20 whole videos and 200 damaged ones, and what was done to each."""
    root = tmp_path_factory.mktemp("mutated")
    draws = random.Random(0)
    whole = []
    for i in range(20):
        video.write(root / "a" / f"whole {i}.avi", make_noise(8 + i), max_b_frames=i % 3)
        whole.append((root / "a" / f"whole {i}.avi").read_bytes())
    video.write(root / "raw.avi", make_noise(4), codec="rawvideo")
    raw = (root / "raw.avi").read_bytes()
    kinds = {f"a/whole {i}.avi": "whole" for i in range(20)}
    for i in range(200):
        kind = KINDS[i % len(KINDS)]
        name = f"a/{kind} {i}.avi"
        # MPEG-4 repeats the size inside and decodes all the same; raw pixels know it from the header.
        mutate(kind, raw if kind == "absurd" else whole[i % 20], draws, root / name)
        kinds[name] = kind
    return VideoList("mutated", ("a",), root, tuple(kinds), (0,) * len(kinds)), kinds


@pytest.fixture(scope="module")
def make_noise():
    def frames(count):
        """Pictures with detail, so that most bits of the file matter."""
        random = np.random.default_rng(count)
        coarse = random.integers(0, 255, (count, 12, 16, 3), np.uint8)
        return coarse.repeat(8, 1).repeat(8, 2)

    return frames


@pytest.fixture(scope="module")
def reported(mutated, tmp_path_factory):
    return prepare(
        mutated[0],
        tmp_path_factory.mktemp("cache"),
        size=SIZE,
        on_bad_video="report",
        seconds=60,
        workers=2,
    )


def test_each_damaged_video_is_reported_and_no_whole_one(mutated, reported):
    kinds = mutated[1]
    bad = dict(reported.bad)
    assert not [name for name in bad if kinds[name] == "whole"]
    unnoticed = [name for name, kind in kinds.items() if kind != "whole" and name not in bad]
    assert unnoticed == []
    for name, reason in bad.items():
        assert name in reason
        assert "\n" not in reason


def test_the_whole_ones_are_kept(mutated, reported):
    assert len(reported) == 20
    assert [len(reported.frames(i)) for i in range(20)] == list(range(8, 28))


def test_no_test_list_is_scored_without_its_bad_videos(reported):
    network = build_network("r3d", 10, num_classes=1, width=4)
    clips = ClipSettings(clip_len=4, resize=SIZE, crop=16)
    with pytest.raises(DatasetError, match="200 of 220 videos of mutated cannot be decoded") as caught:
        score_videos(network, reported, clips, progress=False)
    assert "\n" not in str(caught.value)
