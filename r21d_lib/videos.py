"""Video files in and out: probe, decode all frames in order, write.

Frames are always decoded from the first to the last. Asking decord for single frames by index returns
wrong ones on HMDB51's own files, silently; decoded in order it agrees with PyAV (FFmpeg), the truth.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from r21d_lib.errors import SettingsError, VideoError
from r21d_lib.files import whole_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

Decoder = Literal["auto", "decord", "pyav"]

# What decord's old FFmpeg was seen to decode exactly, as long as no frame is reordered.
_DECORD_CODECS = frozenset({"mpeg4", "msmpeg4", "mjpeg", "h264"})
_DECORD_FORMATS = frozenset({"yuv420p", "yuvj420p"})


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


def decode(path: str | Path, *, decoder: Decoder = "auto") -> np.ndarray:
    """Decode every frame of a video, in order.

    Args:
        path: any container and codec that FFmpeg reads.
        decoder: "pyav" is the reference. "decord" fails where it is not installed. "auto" takes
            decord where it gives PyAV's frames (8-bit 4:2:0, no B-frames, no rotation; a pixel may
            differ by one grey level, because its FFmpeg is older), else PyAV.

    Returns:
        (T, H, W, 3) uint8, RGB, turned upright where the file says so (telephones do).

    Raises:
        VideoError: if the file is missing, empty, damaged, or holds no frame.
        SettingsError: if no decoder has that name.
    """
    path = Path(path)
    if decoder not in ("auto", "decord", "pyav"):
        raise SettingsError(f"decoder {decoder!r} is unknown: choose auto, decord or pyav")
    container, stream = _open(path)
    with container:
        if decoder == "decord":
            return _decode_with_decord(path)
        if decoder == "auto" and _decord_is_exact(container, stream):
            # decord repeats, drops or refuses frames where a file is odd; then the reference decides.
            with contextlib.suppress(VideoError):
                frames = _decode_with_decord(path)
                if len(frames) == _count_packets(container, stream):
                    return frames
            return decode(path, decoder="pyav")
        frames = _decode_with_pyav(container, stream, path)
    if len(frames) == 0:
        raise VideoError(f"{path} holds no frame that can be decoded: replace or delete the file")
    return frames


def write(
    path: str | Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int = 30,
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
    with whole_file(path) as partial:
        try:
            with av.open(str(partial), "w") as container:
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


def _open(path: Path) -> "tuple[InputContainer, VideoStream]":
    """Open a file with FFmpeg and return it with its first video stream."""
    import av

    if not path.is_file():
        raise VideoError(f"no video {path}: check the path")
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes): copy the file again")
    _check_whole(path)
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(f"{path} is not a readable video: copy the file again") from error
    if not container.streams.video:
        container.close()
        raise VideoError(f"{path} has no video stream: give a file with pictures")
    return container, container.streams.video[0]


def _check_whole(path: Path) -> None:
    """Check that an .avi is as long as it says: FFmpeg would decode a cut one to fewer frames.

    Its header's number of frames cannot be used for that: real HMDB51 clips announce 48 and hold 40.
    """
    with open(path, "rb") as file:
        head = file.read(12)
    announced = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and head[8:] == b"AVI " and path.stat().st_size < announced:
        raise VideoError(
            f"{path} was cut: {path.stat().st_size} of {announced} bytes are there, copy it again"
        )


def _count_packets(container: "InputContainer", stream: "VideoStream") -> int:
    """Count the encoded frames without decoding them."""
    return sum(1 for packet in container.demux(stream) if packet.size)


def _decord_is_exact(container: "InputContainer", stream: "VideoStream") -> bool:
    """Tell whether decord is installed and was seen to agree with PyAV on streams like this one."""
    import importlib.util

    context = stream.codec_context
    # No other container was tried, and an .avi cannot ask to be rotated or to start late.
    return (
        container.format.name == "avi"
        and importlib.util.find_spec("decord") is not None
        and context.name in _DECORD_CODECS
        and context.pix_fmt in _DECORD_FORMATS
        and not context.has_b_frames
        and context.width % 2 == 0
        and context.height % 2 == 0
    )


def _decode_with_decord(path: Path) -> np.ndarray:
    try:
        import decord
    except ImportError as error:
        raise VideoError("decord is not installed here: use decoder='pyav'") from error
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        return reader.get_batch(range(len(reader))).asnumpy()
    # decord's own error is no RuntimeError, but it raises both.
    except (RuntimeError, decord.DECORDError) as error:
        raise VideoError(f"{path} cannot be decoded by decord: use decoder='pyav'") from error


def _decode_with_pyav(container: "InputContainer", stream: "VideoStream", path: Path) -> np.ndarray:
    import av

    # One converter for all frames: `frame.to_ndarray("rgb24")` builds one each, for half of the time.
    converter = av.video.reformatter.VideoReformatter()
    frames, rotation = [], 0
    try:
        for frame in container.decode(stream):
            frames.append(converter.reformat(frame, format="rgb24").to_ndarray())
            rotation = frame.rotation
    except av.FFmpegError as error:
        raise VideoError(f"{path} is damaged ({error}): copy the file again") from error
    if len({frame.shape for frame in frames}) > 1:
        raise VideoError(f"{path} changes its picture size midway: encode it anew at one size")
    if not frames:
        return np.empty((0, stream.height, stream.width, 3), np.uint8)
    # FFmpeg leaves turning to its caller; -90 is clockwise, as numpy counts. decord does it itself.
    return np.ascontiguousarray(np.rot90(np.stack(frames), rotation // 90, axes=(1, 2)))
