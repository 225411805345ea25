"""Right frames on every format: each carries its number, and all come back once and in order."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from r21d_lib.data import video

LENGTHS = (1, 2, 5, 17)
# name: suffix, codec, pixel format, B-frames, four letters in the container, options
FORMATS = {
    "XviD": (".avi", "mpeg4", "yuv420p", 0, "XVID", {}),
    "XviD, 1 B": (".avi", "mpeg4", "yuv420p", 1, "XVID", {"g": "6"}),
    "XviD, 2 B": (".avi", "mpeg4", "yuv420p", 2, "XVID", {"g": "6"}),
    "DX50": (".avi", "mpeg4", "yuv420p", 0, "DX50", {"g": "6"}),
    "DX50, 1 B": (".avi", "mpeg4", "yuv420p", 1, "DX50", {"g": "6"}),
    "DX50, 2 B": (".avi", "mpeg4", "yuv420p", 2, "DX50", {"g": "6"}),
    "MJPEG": (".avi", "mjpeg", "yuvj420p", 0, "MJPG", {}),
    "H.264": (".mp4", "libx264", "yuv420p", 3, None, {"g": "6"}),
    "H.264, open GOP": (".mkv", "libx264", "yuv420p", 2, None, {"x264-params": "open-gop=1:keyint=6"}),
    "H.264, 4:4:4": (".mkv", "libx264", "yuv444p", 2, None, {}),
    "H.264, 10 bit": (".mkv", "libx264", "yuv420p10le", 2, None, {}),
    # Not .mp4: this FFmpeg now and then refuses to write one or two frames of HEVC into it.
    "HEVC": (".mkv", "libx265", "yuv420p", 2, None, {"x265-params": "log-level=none:keyint=6"}),
    "HEVC, 10 bit": (".mkv", "libx265", "yuv420p10le", 2, None, {"x265-params": "log-level=none"}),
    "VP9": (".webm", "libvpx-vp9", "yuv420p", 0, None, {"g": "6"}),
    "AV1": (".mkv", "libsvtav1", "yuv420p", 0, None, {"preset": "12", "svtav1-params": "keyint=6"}),
    "MPEG-2 in MPEG-PS": (".mpg", "mpeg2video", "yuv420p", 2, None, {"g": "6"}),
    "MPEG-1 in MPEG-PS": (".mpg", "mpeg1video", "yuv420p", 0, None, {"g": "6"}),
}


def numbered(count, height=96, width=128):
    """Frames whose bars spell their number in binary: what no decoder can get wrong by a little."""
    frames = np.full((count, height, width, 3), 90, np.uint8)
    for t, frame in enumerate(frames):
        frame[10:40, (5 * t) % (width - 30) :][:, :30] = (200, 120, 60)
        for bit in range(5):
            frame[60:90, 4 + 24 * bit : 24 + 24 * bit] = 230 if t >> bit & 1 else 20
    return frames


def numbers(frames):
    lit = frames[:, 75, 14 : 14 + 24 * 5 : 24].mean(-1) > 128
    return [int(sum(1 << bit for bit, on in enumerate(row) if on)) for row in lit]


def write(path, frames, codec, pixels, b_frames, tag, options, times=None):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    with video.ordinary_priority(), av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.max_b_frames = b_frames
        if tag:
            stream.codec_context.codec_tag = tag
        for t, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            if times is not None:
                picture.pts, picture.time_base = times[t], Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux alone tells its scheduling")
def test_an_encoder_that_takes_real_time_priority_does_not_keep_it(tmp_path):
    """As root SVT-AV1 takes it for this process, and two cores stood still under its children."""
    if "libsvtav1" not in av.codecs_available:
        pytest.skip("this PyAV has no encoder libsvtav1")
    before = os.sched_getscheduler(0)
    video.write(tmp_path / "video.mkv", numbered(3), codec="libsvtav1", options={"preset": "12"})
    assert os.sched_getscheduler(0) == before


@pytest.mark.parametrize("count", LENGTHS)
@pytest.mark.parametrize("name", FORMATS)
def test_all_frames_once_and_in_order(tmp_path, name, count):
    suffix, *form = FORMATS[name]
    path = tmp_path / f"video{suffix}"
    write(path, numbered(count), *form)
    assert numbers(video.decode(path)) == list(range(count))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_at_uneven_times_are_neither_repeated_nor_dropped(tmp_path, suffix):
    path = tmp_path / f"video{suffix}"
    times = np.cumsum([1, 1, 7, 1, 3, 2, 12, 1, 1, 5])
    write(path, numbered(10), "libx264", "yuv420p", 2, None, {}, times=times.tolist())
    assert numbers(video.decode(path)) == list(range(10))


@pytest.mark.parametrize("indexed", ["contiguous", "sparse"])
@pytest.mark.parametrize("name", ["DX50, 2 B", "XviD, 1 B", "H.264, open GOP"])
def test_clips_of_the_cache_are_the_right_frames(tmp_path, name, indexed):
    from r21d_lib.data.cache import prepare
    from r21d_lib.data.clip_settings import ClipSettings
    from r21d_lib.data.lists import VideoList

    suffix, *form = FORMATS[name]
    (tmp_path / "videos" / "a").mkdir(parents=True)
    write(tmp_path / "videos" / "a" / f"v{suffix}", numbered(30), *form)
    listed = VideoList("one", ("a",), tmp_path / "videos", (f"a/v{suffix}",), (0,))
    settings = ClipSettings(
        clip_len=6, stride=1 if indexed == "contiguous" else 4, resize=(96, 128), crop=96
    )
    prepared = prepare(listed, tmp_path / "cache", size=(96, 128))
    for start in (0, 7, 9):
        clip = prepared.clips(0, settings, lambda _, start=start: [start])[0]
        assert numbers(clip.numpy()) == [start + settings.stride * i for i in range(6)]
