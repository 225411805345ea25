"""Decoding and encoding: right frames from both decoders, and bad files that say so."""

import hashlib

import numpy as np
import pytest

from r21d_lib import videos
from r21d_lib.errors import SettingsError, VideoError


@pytest.mark.parametrize(
    ("suffix", "codec", "b_frames"),
    [(".avi", "mpeg4", 0), (".avi", "mpeg4", 2), (".avi", "mjpeg", 0), (".mp4", "libx264", 2)],
)
@pytest.mark.parametrize("num_frames", [1, 3, 20])
def test_every_format_comes_back_in_order(tmp_path, make_frames, suffix, codec, b_frames, num_frames):
    frames = make_frames(num_frames)
    path = tmp_path / f"video{suffix}"
    videos.write(path, frames, codec=codec, max_b_frames=b_frames)
    reference = videos.decode(path, decoder="pyav")
    assert reference.shape == frames.shape
    assert reference.dtype == np.uint8
    # The moving square alone tells frames apart: each must be nearest to its own original.
    distances = np.abs(reference[:, None].astype(int) - frames[None].astype(int)).mean((2, 3, 4))
    assert distances.argmin(1).tolist() == list(range(num_frames))
    np.testing.assert_array_equal(videos.decode(path), reference)


def test_decord_serves_plain_avi_and_gives_the_reference(tmp_path, make_frames):
    pytest.importorskip("decord")
    path = tmp_path / "plain.avi"
    videos.write(path, make_frames(20))
    by_decord = videos.decode(path, decoder="decord")
    np.testing.assert_array_equal(by_decord, videos.decode(path, decoder="pyav"))


def test_real_hmdb51_clips_decode_alike(shared_data):
    originals = sorted(p for p in (shared_data / "clips").iterdir())
    trimmed = [sorted(p.iterdir())[0] for p in sorted((shared_data / "jhmdb").iterdir()) if p.is_dir()]
    assert originals
    assert trimmed
    for path in originals + trimmed:
        np.testing.assert_array_equal(
            videos.decode(path), videos.decode(path, decoder="pyav"), err_msg=path.name
        )


def test_probe(tmp_path, make_frames):
    path = tmp_path / "video.avi"
    videos.write(path, make_frames(12), fps=25)
    info = videos.probe(path)
    assert (info.num_frames, info.height, info.width, info.fps) == (12, 48, 64, 25.0)


def test_the_same_frames_give_the_same_bytes(tmp_path, make_frames):
    digests = set()
    for name in ("a.avi", "b.avi"):
        videos.write(tmp_path / name, make_frames(10))
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no video"), (b"", "is empty"), (b"not a video at all" * 50, "not a readable video")],
)
def test_bad_files_say_so_in_one_line(tmp_path, content, message):
    path = tmp_path / "bad.avi"
    if content is not None:
        path.write_bytes(content)
    for call in (videos.decode, videos.probe):
        with pytest.raises(VideoError, match=message) as caught:
            call(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_header_without_frames_is_an_error(tmp_path, make_frames):
    path = tmp_path / "cut.avi"
    videos.write(path, make_frames(10))
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(VideoError, match=r"cut\.avi"):
        videos.decode(path)


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(VideoError, match="no frame to write"):
        videos.write(tmp_path / "none.avi", [])

    def frames():
        yield np.zeros((48, 64, 3), np.uint8)
        raise RuntimeError("the camera broke")

    with pytest.raises(RuntimeError, match="camera"):
        videos.write(tmp_path / "broken.avi", frames())
    assert list(tmp_path.iterdir()) == []


def test_unknown_decoder(tmp_path):
    with pytest.raises(SettingsError, match="choose auto, decord or pyav"):
        videos.decode(tmp_path / "x.avi", decoder="opencv")
