"""Video files made to do harm: they take memory or time without end, or lead to other files."""

import hashlib
import io
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from r21d_lib.data import video

IDENTITY = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 2**30)


def box(kind: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I", 8 + len(data)) + kind + data


def full(kind: bytes, *content: bytes) -> bytes:
    return box(kind, bytes(4), *content)


def picture(side: int = 16) -> bytes:
    """A grey JPEG."""
    target = io.BytesIO()
    Image.new("L", (side, side), 128).save(target, "JPEG")
    return target.getvalue()


def mp4(samples: int, *, shown: bytes, side: int, offsets: int = 1, hidden: bool = False) -> bytes:
    """A file of one JPEG that announces many samples.

    Args:
        samples: in its tables.
        shown: the JPEG.
        side: of its pictures [pixels].
        offsets: chunks, which all begin at that picture, with so many samples in all.
        hidden: an edit list hides all samples but the last.
    """
    start = box(b"ftyp", b"isom\0\0\2\0isomiso2") + struct.pack(">I", 8 + len(shown)) + b"mdat"
    place = len(start)
    time, edits = struct.pack(">IIII", 0, 0, 1000, samples), b""
    if hidden:
        edits = box(b"edts", full(b"elst", struct.pack(">IIiHH", 1, 1, samples - 1, 1, 0)))
    keys = full(b"stss", struct.pack(">II", 1, 1)) if hidden else b""
    entry = box(
        b"jpeg",
        *(bytes(6), b"\0\1", bytes(16), struct.pack(">HHII", side, side, 72 << 16, 72 << 16)),
        *(bytes(4), b"\0\1", bytes(32), b"\0\x18\xff\xff"),
    )
    table = box(
        b"stbl",
        full(b"stsd", struct.pack(">I", 1), entry),
        full(b"stts", struct.pack(">III", 1, samples, 1)),
        keys,
        full(b"stsc", struct.pack(">IIII", 1, 1, samples // offsets, 1)),
        full(b"stsz", struct.pack(">II", len(shown) if offsets > 1 else 1, samples)),
        full(b"stco", struct.pack(">I", offsets), struct.pack(">I", place) * offsets),
    )
    where = box(b"dinf", full(b"dref", struct.pack(">I", 1), box(b"url ", b"\0\0\0\1")))
    media = box(
        b"mdia",
        full(b"mdhd", time, bytes(4)),
        full(b"hdlr", bytes(4), b"vide", bytes(12), b"v\0"),
        box(b"minf", box(b"vmhd", b"\0\0\0\1", bytes(8)), where, table),
    )
    track = box(
        b"tkhd",
        *(b"\0\0\0\3", struct.pack(">IIIII", 0, 0, 1, 0, samples), bytes(16), IDENTITY),
        struct.pack(">II", side << 16, side << 16),
    )
    movie = full(
        b"mvhd", time, struct.pack(">IH", 65536, 256), bytes(10), IDENTITY, bytes(24), b"\0\0\0\2"
    )
    return start + shown + box(b"moov", movie, box(b"trak", track, edits, media))


def many_samples() -> bytes:
    """Less than 2 kB, and an index of 80 million samples: 2.8 GB."""
    return mp4(80_000_000, shown=picture(), side=16)


def many_pictures() -> bytes:
    """Less than 200 kB, and a large picture shown 20,000 times: minutes or hours."""
    return mp4(20_000, shown=picture(2048), side=2048, offsets=20_000)


def hidden_pictures() -> bytes:
    """The same, and none of the pictures is to be shown but the last."""
    return mp4(20_000, shown=picture(2048), side=2048, offsets=20_000, hidden=True)


# What a folder may hold beside videos, or in their place: the name says how it pretends to be one.
FILES = {
    "concat.avi": lambda: b"ffconcat version 1.0\nfile good.avi\n",
    "playlist.mp4": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngood.avi\n",
    "endless.ts": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngood.avi\n",
    "dash.mpg": lambda: b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "terminal.mov": lambda: b"\x1b[2J\x1b[31mno video\x1b[0m\n" * 99,
    "picture.avi": lambda: picture(64),
    "drawing.mkv": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "subtitles.webm": lambda: b"1\n00:00:01,000 --> 00:00:02,000\nwords\n\n",
    "session.mpeg": lambda: (
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"
    ),
    "archive.flv": lambda: b"PK\3\4" + bytes(99),
    "zeros.m2ts": lambda: bytes(10**6),
    "nothing.wmv": lambda: b"",
    "samples.mp4": many_samples,
    "pictures.mp4": many_pictures,
    "hidden.mov": hidden_pictures,
}


def write_films(folder: Path) -> None:
    """Write damaged films: cut, of an unknown codec, of absurd size, and one that is whole."""
    frames = np.random.default_rng(0).integers(0, 255, (20, 32, 48, 3), np.uint8)
    good, raw = folder / "good.avi", folder / "absurd.avi"
    video.write(good, frames)
    content = good.read_bytes()
    (folder / "cut.avi").write_bytes(content[: len(content) // 2])
    (folder / "codec.avi").write_bytes(content.replace(b"FMP4", b"ZQ9X"))
    video.write(raw, frames[:2], codec="rawvideo")
    data = bytearray(raw.read_bytes())
    for place in (data.index(b"avih") + 40, data.index(b"strf") + 12):
        data[place : place + 8] = struct.pack("<II", 60_000, 60_000)
    raw.write_bytes(data)


def write_specials(folder: Path) -> list[Path]:
    """Make what is no file: each is named as a video is."""
    paths = [folder / f"{name}.avi" for name in ("fifo", "device", "folder", "nowhere", "circle")]
    os.mkfifo(paths[0])
    paths[1].symlink_to("/dev/zero")
    paths[2].mkdir()
    (paths[2] / "words.txt").write_text("no video")
    paths[3].symlink_to(folder / "gone")
    paths[4].symlink_to(paths[4])
    return paths


def tree(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Return what a folder holds, special files and all: names, kinds, times of change and contents."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            status = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else ""
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            found[os.path.relpath(path, folder)] = (status.st_mode, status.st_mtime_ns, content)
    return found
