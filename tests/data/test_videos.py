"""Decoding and encoding: right frames from both decoders, and bad files that say so."""

import hashlib
import struct

import av
import numpy as np
import pytest

from r21d_lib.data import video
from r21d_lib.errors import SettingsError, VideoError


@pytest.mark.parametrize(
    ("suffix", "codec", "b_frames", "plain"),
    [
        (".avi", "mpeg4", 0, True),
        (".avi", "mpeg4", 1, False),
        (".avi", "mpeg4", 2, False),
        (".avi", "msmpeg4", 0, True),
        (".avi", "mjpeg", 0, True),
        (".avi", "libx264", 0, True),
        (".avi", "libx264", 2, False),
        (".mp4", "libx264", 0, False),
        (".mp4", "libx264", 2, False),
    ],
)
@pytest.mark.parametrize("num_frames", [1, 3, 20])
def test_every_format_comes_back_in_order(
    tmp_path, make_frames, suffix, codec, b_frames, plain, num_frames
):
    frames = make_frames(num_frames)
    path = tmp_path / f"video{suffix}"
    video.write(path, frames, codec=codec, max_b_frames=b_frames)
    reference = video.decode(path)
    assert reference.shape == frames.shape
    assert reference.dtype == np.uint8
    # The moving square alone tells frames apart: each must be nearest to its own original.
    distances = np.abs(reference[:, None].astype(int) - frames[None].astype(int)).mean((2, 3, 4))
    assert distances.argmin(1).tolist() == list(range(num_frames))
    if plain:
        pytest.importorskip("decord")
        np.testing.assert_array_equal(video.decode(path, decoder="decord"), reference)


@pytest.mark.parametrize(("height", "width"), [(47, 64), (48, 63), (47, 63)])
@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_odd_sizes_are_kept(tmp_path, make_frames, codec, height, width):
    frames = make_frames(3, height, width)
    video.write(tmp_path / "odd.avi", frames, codec=codec)
    decoded = video.decode(tmp_path / "odd.avi")
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(int) - frames).mean() < 8


def test_decord_in_order_repeats_the_last_frame_of_a_real_clip(shared_data):
    pytest.importorskip("decord")
    path = shared_data / "clips" / "unnamed_hmdb51_48_frames.avi"
    reference = video.decode(path, decoder="pyav")
    by_decord = video.decode(path, decoder="decord")
    assert (len(reference), len(by_decord)) == (48, 49)
    np.testing.assert_array_equal(by_decord[:48], reference)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_video_stands_upright_whichever_decoder_serves_it(tmp_path, make_frames, quarters):
    frames = make_frames(3, 96, 128)  # decord cannot turn pictures as small as the others here
    path = tmp_path / "telephone.mp4"
    video.write(path, frames, codec="libx264")
    # The track header's matrix says how a player turns the picture, clockwise: cos, sin, -sin, cos.
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    content = bytearray(path.read_bytes())
    struct.pack_into(
        ">9i", content, content.index(b"tkhd") + 44,
        *(cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30),
    )  # fmt: skip
    path.write_bytes(content)
    decoded = video.decode(path)
    upright = np.rot90(frames, -quarters, axes=(1, 2))
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 8
    pytest.importorskip("decord")
    np.testing.assert_array_equal(video.decode(path, decoder="decord"), decoded)


def test_real_hmdb51_clips_are_not_taken_for_damaged(shared_data):
    originals = sorted(p for p in (shared_data / "clips").iterdir())
    trimmed = sorted((shared_data / "jhmdb").rglob("*.avi"))
    assert len(originals) >= 4
    assert len(trimmed) == 606
    for path in [*originals, *trimmed[::6]]:
        assert len(list(video.stream(path))) >= 15, path.name


def test_probe(tmp_path, make_frames):
    path = tmp_path / "video.avi"
    video.write(path, make_frames(12), fps=25)
    info = video.probe(path)
    assert (info.num_frames, info.height, info.width, info.fps) == (12, 48, 64, 25.0)


def test_the_same_frames_give_the_same_bytes(tmp_path, make_frames):
    digests = set()
    for name in ("a.avi", "b.avi"):
        video.write(tmp_path / name, make_frames(10))
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
    for call in (video.decode, video.probe):
        with pytest.raises(VideoError, match=message) as caught:
            call(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".avi", "mpeg4"), (".mp4", "libx264"), (".mkv", "libx264"), (".webm", "libvpx-vp9")],
)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_cut_file_is_an_error(tmp_path, make_frames, suffix, codec, kept):
    path = tmp_path / f"cut{suffix}"
    video.write(path, make_frames(10), codec=codec)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(VideoError, match=rf"cut\{suffix} (was cut|is not a readable video)"):
        video.decode(path)


def test_a_live_recording_that_tells_no_length_is_not_taken_for_cut(tmp_path, make_frames):
    path = tmp_path / "live.mkv"
    with av.open(str(path), "w", options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in make_frames(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    assert bytes.fromhex("18538067 01ffffffffffffff") in path.read_bytes()  # a segment of no size
    assert len(video.decode(path)) == 10


def test_a_flipped_bit_is_reported_or_changes_pixels_only(shared_data, tmp_path):
    """What no decoder can notice must not change how many frames there are, or their size."""
    random = np.random.default_rng(0)
    clips = sorted((shared_data / "jhmdb").rglob("*.avi"))[::10]
    reported = 0
    for clip in clips:
        whole, content = video.decode(clip), bytearray(clip.read_bytes())
        place = random.integers(content.index(b"movi") + 4, content.rindex(b"idx1"))
        content[place] ^= 1 << random.integers(8)
        (tmp_path / clip.name).write_bytes(content)
        try:
            damaged = video.decode(tmp_path / clip.name)
        except VideoError:
            reported += 1
        else:
            assert damaged.shape == whole.shape, clip.name
    assert reported > len(clips) / 4


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_a_header_without_frames_is_an_error(tmp_path, decoder):
    if decoder == "decord":
        pytest.importorskip("decord")
    path = tmp_path / "none.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"none\.avi"):
        video.decode(path, decoder=decoder)


def test_sound_alone_is_an_error(tmp_path):
    path = tmp_path / "sound.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(VideoError, match=r"sound\.avi has no video stream"):
        video.decode(path)


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(VideoError, match="no frame to write"):
        video.write(tmp_path / "none.avi", [])

    def frames():
        yield np.zeros((48, 64, 3), np.uint8)
        raise RuntimeError("the camera broke")

    with pytest.raises(RuntimeError, match="camera"):
        video.write(tmp_path / "broken.avi", frames())
    assert list(tmp_path.iterdir()) == []


def test_unknown_decoder(tmp_path):
    with pytest.raises(SettingsError, match="choose pyav or decord"):
        video.decode(tmp_path / "x.avi", decoder="opencv")
