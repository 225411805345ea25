"""Files that are no plain video: each is refused in one line, or read as players read it."""

import struct
from pathlib import Path

import numpy as np
import pytest

from r21d_lib.data import find, video
from r21d_lib.errors import VideoError

FRAMES = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    video.write(path, FRAMES)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile film.avi\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfilm.avi\n",
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
        "only words\n" * 50,
    ],
    ids=["concat", "hls", "svg", "text"],
)
def test_a_file_opens_no_other(film: Path, text: str) -> None:
    other = film.with_name("other.avi")
    other.write_text(text)
    with pytest.raises(VideoError, match="not a readable video"):
        video.decode(other)


def test_an_unknown_codec_is_one_line(film: Path) -> None:
    film.write_bytes(film.read_bytes().replace(b"FMP4", b"ZQ9X"))
    with pytest.raises(VideoError, match="codec"):
        video.decode(film)


def test_a_colon_in_a_name_is_no_address(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(film.parent)
    for name in ("take:1.avi", "data:x.avi", "concat:film.avi"):
        video.write(name, FRAMES)
        assert len(video.decode(name)) == len(FRAMES)


@pytest.mark.parametrize("size", [2**32 - 1, 18_000_000, None])
def test_a_wrong_size_in_front_of_whole_frames_is_read(film: Path, size: int | None) -> None:
    data = bytearray(film.read_bytes())
    data[4:8] = struct.pack("<I", len(data) - 7 if size is None else size)
    film.write_bytes(data)
    assert len(video.decode(film)) == len(FRAMES)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda f: f),
        ((-1, 0, 0, 1), lambda f: f[:, :, ::-1]),
        ((1, 0, 0, -1), lambda f: f[:, ::-1]),
        ((-1, 0, 0, -1), lambda f: f[:, ::-1, ::-1]),
        ((0, 1, 1, 0), lambda f: f.swapaxes(1, 2)),
        ((0, 1, -1, 0), lambda f: np.rot90(f, -1, (1, 2))),
        ((0, -1, 1, 0), lambda f: np.rot90(f, 1, (1, 2))),
        ((0, -1, -1, 0), lambda f: np.rot90(f, 2, (1, 2)).swapaxes(1, 2)),
    ],
    ids=["plain", "mirrored", "flipped", "half turn", "transposed", "right", "left", "transverse"],
)
def test_pictures_are_shown_as_the_matrix_says(tmp_path: Path, matrix, shown) -> None:
    path = tmp_path / "film.mp4"
    video.write(path, FRAMES)
    plain = video.decode(path)
    data = bytearray(path.read_bytes())
    one = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)
    place = data.index(one, data.index(b"tkhd"))
    a, b, c, d = (65536 * number for number in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    path.write_bytes(data)
    np.testing.assert_array_equal(video.decode(path), shown(plain))


def test_a_cover_or_preview_is_not_the_film(tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=10) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number, stream in enumerate(streams):
            for frame in FRAMES if number else FRAMES[:1]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            container.mux(stream.encode())
    assert len(video.decode(path)) == len(FRAMES)


def test_folders_are_searched_for_all_that_is_read(film: Path) -> None:
    folder = film.parent / "search"
    wanted = ["a.gif", "b.3g2", "c.Y4M", "d/e.vob", "d/f.mxf"]
    for name in [*wanted, "._a.avi", ".ipynb_checkpoints/a-checkpoint.avi", ".x.7.partial.avi"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(film.read_bytes())
    links = film.parent / "links"
    links.mkdir()
    (links / "to").symlink_to(folder)
    (folder / "up").symlink_to(folder)
    assert sorted(find.find([str(folder)])) == wanted
    assert sorted(find.find([str(links)])) == [f"to/{name}" for name in wanted]
