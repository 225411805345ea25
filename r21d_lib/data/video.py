"""Video files in and out: probe, decode all frames in order, write.

Frames are always decoded from the first to the last, by PyAV (FFmpeg). Asking decord for single frames
by index returns wrong ones on HMDB51's own files, silently; decoded in order it agrees with PyAV.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

import numpy as np

from r21d_lib.errors import SettingsError, VideoError
from r21d_lib.files import whole_file

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

Decoder = Literal["pyav", "decord"]

# A header may announce any size; decoding such a picture would take all memory first.
_MOST_PIXELS = 2**27
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # how Matroska begins
# FFmpeg's names of the containers whose index lists every frame; Matroska's lists key frames only.
_WHOLLY_INDEXED = frozenset({"avi", "mov,mp4,m4a,3gp,3g2,mj2"})
# The containers that are read. FFmpeg also knows playlists, lists of other files (hls, concat, dash),
# pictures and texts (svg_pipe, image2, tty), which open other files or hosts, or never end.
_CONTAINERS = (
    "avi,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,flv,live_flv,mpeg,mpegts,mpegvideo,ogg,asf,asf_o,gif,dv,"
    "mxf,rm,yuv4mpegpipe,h264,hevc,m4v,mjpeg,ivf,nut,swf,vc1,wtv,nsv,roq,bink,smk,apng"
)
_ONE_FILE = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header says of its first video stream.

    Attributes:
        num_frames: the container's claim, 0 where it makes none; `decode` tells the truth.
        height: pixels, as stored: `decode` also turns a picture that asks for it.
        width: pixels.
        fps: frames a second, on average.
    """

    num_frames: int
    height: int
    width: int
    fps: float


def probe(path: str | Path) -> VideoInfo:
    """Read a video's size, rate and claimed length without decoding it.

    Raises:
        VideoError: if the file is missing, empty, or has no readable video stream.
    """
    container, stream = _open(Path(path))
    with container:
        rate = stream.average_rate or stream.guessed_rate or Fraction(0)
        return VideoInfo(stream.frames, stream.height, stream.width, float(rate))


def stream(path: str | Path) -> Iterator[np.ndarray]:
    """Decode a video frame by frame, in order, however long it is.

    Args:
        path: any container and codec that FFmpeg reads.

    Yields:
        (H, W, 3) uint8, RGB, turned upright where the file says so (telephones do).

    Raises:
        VideoError: if the file is missing, empty, damaged, of absurd size, or holds no frame. Damage
            inside is noticed when its frame is reached, lost frames at the end. A flipped bit that
            still makes a valid picture is not noticed.
    """
    import av

    path = Path(path)
    container, video = _open(path)
    # One converter for all frames: `frame.to_ndarray("rgb24")` builds one each, for half of the time.
    converter = av.video.reformatter.VideoReformatter()
    shape, packets = None, 0
    with container:
        try:
            for packet in container.demux(video):
                packets += packet.size > 0
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise VideoError(f"{path} is damaged (a broken frame): copy the file again")
                    pixels = converter.reformat(frame, format="rgb24").to_ndarray()
                    if shape not in (None, pixels.shape):
                        raise VideoError(
                            f"{path} changes its picture size midway: encode it anew at one size"
                        )
                    shape = pixels.shape
                    yield np.ascontiguousarray(_upright(pixels, frame))
        except (av.FFmpegError, MemoryError) as error:
            raise VideoError(f"{path} is damaged ({error}): copy the file again") from error
        indexed = len(video.index_entries)
        if container.format.name in _WHOLLY_INDEXED and packets != indexed:
            raise VideoError(
                f"{path} is damaged ({packets} of {indexed} frames are there): copy the file again"
            )
    if shape is None:
        raise VideoError(f"{path} holds no frame that can be decoded: replace or delete the file")


def decode(path: str | Path, *, decoder: Decoder = "pyav") -> np.ndarray:
    """Decode every frame of a video, in order.

    Args:
        path: any container and codec that FFmpeg reads.
        decoder: "pyav" is the reference, and notices damage. "decord", where it is installed, takes
            about half of the time, but repeats, drops or refuses frames of some files.

    Returns:
        (T, H, W, 3) uint8, RGB, turned upright where the file says so.

    Raises:
        VideoError: if the file is missing, empty, damaged, of absurd size, or holds no frame.
        SettingsError: if no decoder has that name.
    """
    if decoder not in ("pyav", "decord"):
        raise SettingsError(f"decoder {decoder!r} is unknown: choose pyav or decord")
    if decoder == "decord":
        _open(Path(path))[0].close()
        return _decode_with_decord(Path(path))
    return np.stack(list(stream(path)))


def write(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int | Fraction = 30,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
    max_b_frames: int = 0,
) -> None:
    """Encode frames into a video file, whole or not at all; the same frames give the same bytes.

    Args:
        path: the suffix chooses the container (.avi, .mp4, ...).
        frames: one or more (H, W, 3) uint8 RGB frames of one size, or a (T, H, W, 3) array.
        fps: frames a second.
        codec: FFmpeg's name of the encoder.
        options: FFmpeg's options of the encoder, such as {"qscale": "4"}.
        max_b_frames: frames that may be reordered between two references.

    Raises:
        VideoError: if there is no frame or the encoder refuses them.
    """
    import av

    path = Path(path)
    with whole_file(path) as partial, ordinary_priority():
        try:
            with av.open(os.path.abspath(partial), "w") as container:
                container.flags |= cast(int, av.container.Flags.bitexact.value)
                stream: VideoStream | None = None
                for frame in frames:
                    if stream is None:
                        added = container.add_stream(codec, rate=fps, options=options or {})
                        stream = cast("VideoStream", added)
                        stream.height, stream.width = frame.shape[:2]
                        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                        stream.codec_context.max_b_frames = max_b_frames
                        # One thread and no version stamps: bytes must not depend on the machine.
                        stream.codec_context.thread_count = 1
                        stream.codec_context.flags |= av.codec.context.Flags.bitexact.value
                    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")
                    container.mux(stream.encode(picture))
                if stream is None:
                    raise VideoError(f"{path} is not written: there is no frame to write")
                container.mux(stream.encode())
        except av.FFmpegError as error:
            raise VideoError(f"{path} cannot be written with codec {codec}: {error}") from error


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Put this thread's scheduling back at the end to what it was.

    The encoder SVT-AV1 takes the highest real-time priority for the thread that calls it, where it may
    (as root, so in most containers), and leaves it there: all that the process does or starts later
    would keep everything else from running.
    """
    if not hasattr(os, "sched_getscheduler"):  # Linux has it
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


def _open(path: Path) -> "tuple[InputContainer, VideoStream]":
    """Open a file with FFmpeg, and no other by it, and return it with its film.

    Of several video streams it is the one that players show: no cover, and no preview of one frame.
    """
    import av
    from av.stream import Disposition

    if not path.is_file():
        raise VideoError(f"no video {path}: check the path")
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes): copy the file again")
    _check_whole(path)
    try:
        # An absolute path is never taken for an address, whatever colons are in the name.
        container = av.open(os.path.abspath(path), container_options=_ONE_FILE)
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"{path} is not a readable video: copy the file again") from error
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
        container = av.open(os.path.abspath(path), container_options=_ONE_FILE)
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


def _upright(pixels: np.ndarray, frame: "VideoFrame") -> np.ndarray:
    """Turn and mirror (H, W, 3) pixels as the file asks for: FFmpeg leaves it to its caller."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    (a, b, _), (c, d, _), _ = np.frombuffer(cast(bytes, data), np.int32, 9).reshape(3, 3).tolist()
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


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


def _decode_with_decord(path: Path) -> np.ndarray:
    try:
        import decord
    except ImportError as error:
        raise VideoError("decord is not installed here: decode with pyav") from error
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        return reader.get_batch(range(len(reader))).asnumpy()
    # decord's own error is no RuntimeError, but it raises both.
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(f"{path} cannot be decoded by decord: decode with pyav") from error
