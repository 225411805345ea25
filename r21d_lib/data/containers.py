"""Containers of video: which of them are opened, and how, before anything in them is decoded.

A file opens no other file or host, is checked for its whole length, and gives its film, not its cover.
"""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from r21d_lib.errors import VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# A header may announce any size; decoding such a picture would take all memory first.
_MOST_PIXELS = 2**27
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # how Matroska begins
# The containers that are read. FFmpeg also knows playlists, lists of other files (hls, concat, dash),
# pictures and texts (svg_pipe, image2, tty), which open other files or hosts, or never end.
_CONTAINERS = (
    "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,flv,live_flv,mpeg,mpegts,mpegvideo,ogg,asf,asf_o,gif,dv,"
    "mxf,rm,yuv4mpegpipe,h264,hevc,m4v,mjpeg,ivf,nut,swf,vc1,wtv,nsv,roq,bink,smk,apng"
)
_ONE_FILE = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}


def open_video(path: Path) -> "tuple[InputContainer, VideoStream]":
    """Open a file with FFmpeg, and no other by it, and return it with its film.

    Of several video streams it is the one that players show: no cover, and no preview of one frame.

    Raises:
        VideoError: if the file is missing, empty, cut, no video, or announces absurd pictures.
    """
    from av.stream import Disposition

    if not path.is_file():
        raise VideoError(f"no video {path}: check the path")
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes): copy the file again")
    _check_whole(path)
    container = _opened(path)
    video = cast("VideoStream | None", container.streams.best("video"))
    if video is None or video.disposition & Disposition.attached_pic:
        known = not any(stream.codec_context is None for stream in container.streams.video)
        container.close()
        if known:
            raise VideoError(f"{path} has no video stream: give a file with pictures that move")
        raise VideoError(f"{path} is of a codec that FFmpeg does not know: encode it anew")
    if len(container.streams.video) > 1:
        index = _film(container, video)
        container.close()
        container = _opened(path)
        video = cast("VideoStream", container.streams[index])
    if video.codec_context is None:
        container.close()
        raise VideoError(f"{path} is of a codec that FFmpeg does not know: encode it anew")
    if video.width * video.height > _MOST_PIXELS:
        container.close()
        raise VideoError(
            f"{path} announces pictures of {video.width} x {video.height}: copy the file again"
        )
    return container, video


def _opened(path: Path) -> "InputContainer":
    import av

    try:
        # An absolute path is never taken for an address, whatever colons are in the name.
        return av.open(os.path.abspath(path), container_options=_ONE_FILE)
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"{path} is not a readable video: copy the file again") from error


def _film(container: "InputContainer", best: "VideoStream") -> int:
    """Return the index of the stream that FFmpeg thinks best, or of the first with a second picture."""
    import av
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    packets = dict.fromkeys((stream.index for stream in (best, *streams)), 0)
    with contextlib.suppress(av.FFmpegError):  # damage is told when the film is decoded
        for packet in container.demux(streams):
            packets[packet.stream.index] += packet.size > 0
            if packets[best.index] > 1:
                break
    return next((index for index, number in packets.items() if number > 1), best.index)


def _check_whole(path: Path) -> None:
    """Check that an .avi, .mkv or .webm is as long as it says: FFmpeg would decode a cut one to less.

    An .avi header's number of frames cannot be used for that: real HMDB51 clips announce 48 and
    hold 40. FFmpeg itself notices a cut .mp4.
    """
    there = path.stat().st_size
    with open(path, "rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic == b"RIFF":
            announced = _avi_bytes(file, there)
        elif magic == _EBML:
            announced = _matroska_bytes(file)
        else:
            return
    if there < announced:
        raise VideoError(f"{path} was cut: {there} of {announced} bytes are there, copy it again")


def _avi_bytes(file: BinaryIO, there: int) -> int:
    """Return the bytes that an .avi needs: to the end of its RIFF, and of the frames in it."""
    head = file.read(12)
    needed = int.from_bytes(head[4:8], "little") + 8
    if head[8:] != b"AVI ":
        return 0
    # What follows the frames is not looked at: real HMDB51 clips have leftovers there.
    place = 12
    while place + 12 <= there:
        file.seek(place)
        chunk = file.read(12)
        end = place + 8 + int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"LIST" and chunk[8:] == b"movi":
            # Some writers leave a wrong size in front; an index that is whole says that nothing is cut.
            file.seek(end + end % 2)
            index = file.read(8)
            indexed = file.tell() + int.from_bytes(index[4:], "little")
            return indexed if index[:4] == b"idx1" and indexed <= there else max(needed, end)
        place = end + end % 2
    return needed


def _matroska_bytes(file: BinaryIO) -> int:
    """Return where a Matroska file's segment ends, 0 where it does not say (as live recordings)."""
    file.seek(4)
    file.seek(_ebml_size(file) or 0, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    size = _ebml_size(file)
    return 0 if size is None else file.tell() + size


def _ebml_size(file: BinaryIO) -> int | None:
    """Read a size of 1 to 8 bytes, as many as its first byte has leading zeros and one more."""
    first = int.from_bytes(file.read(1))
    length = 9 - first.bit_length()
    value = (first << 8 * (length - 1) | int.from_bytes(file.read(length - 1))) & ~(1 << 7 * length)
    return None if value == (1 << 7 * length) - 1 else value  # all ones: unknown
