"""The widget that recognises what the browser's camera, a screen or a dropped file shows.

The browser takes the frames, so that it works wherever the kernel is. See static/live.js for its side.
"""

import io
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from r21d_lib.errors import R21DError, VideoError
from r21d_lib.live.rolling import TRAINED_FPS, RollingRecognizer
from r21d_lib.prediction.prediction import Answer
from r21d_lib.prediction.recognizer import Recognizer

_STATIC = Path(__file__).with_name("static")
_SHARPNESS = 2  # times the network's size, at which frames are sent
_SHOWN = 5


_NOTHING_ELSE = ConfigDict(extra="forbid", strict=True)


class _FramesMessage(BaseModel):
    """Frames of a camera or a film, a JPEG picture and a time [s] each."""

    model_config = _NOTHING_ELSE
    kind: Literal["frames"]
    source: Annotated[str, Field(max_length=200)]
    times: Annotated[list[FiniteFloat], Field(max_length=1000)]


class _FileMessage(BaseModel):
    """A part of a file, and where in it that belongs [bytes]."""

    model_config = _NOTHING_ELSE
    kind: Literal["file"]
    source: Annotated[str, Field(max_length=200)]
    name: Annotated[str, Field(max_length=1000)]
    size: Annotated[int, Field(gt=0)]
    at: Annotated[int, Field(ge=0)]


_MESSAGES: TypeAdapter[_FramesMessage | _FileMessage] = TypeAdapter(
    Annotated[_FramesMessage | _FileMessage, Field(discriminator="kind")]
)


class LiveRecognizer(anywidget.AnyWidget):
    """Shows what the network says of the last moments, with its latency and the frames it missed.

    A file that the browser can play is watched like a camera; another one is sent to the kernel, which
    decodes it and scores all of it.

    Args:
        recognizer: network, classes and clip settings, or the name of a checkpoint.
        most_bytes: of a file that the browser cannot play.

    Raises:
        CheckpointError: if there is no such checkpoint.
    """

    _esm = _STATIC / "live.js"
    _css = _STATIC / "live.css"
    frame_size = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)
    rate = traitlets.Float().tag(sync=True)
    knows = traitlets.Unicode().tag(sync=True)
    most_waiting = traitlets.Int().tag(sync=True)
    most_bytes = traitlets.Int().tag(sync=True)

    def __init__(
        self, recognizer: Recognizer | str | Path = "figures", *, most_bytes: int = 64_000_000
    ) -> None:
        if not isinstance(recognizer, Recognizer):
            recognizer = Recognizer(recognizer)
        clips = recognizer.clips
        height, width = clips.resize
        super().__init__(
            frame_size=(_SHARPNESS * height, _SHARPNESS * width),
            rate=(clips.fps or TRAINED_FPS) / clips.stride,
            knows=f"The network {recognizer.card.world}." if recognizer.card.world else "",
            most_waiting=clips.clip_len,
            most_bytes=most_bytes,
        )
        self._recognizer = recognizer
        self._source = ""
        self._rolling = RollingRecognizer(recognizer)
        self._upload = bytearray()
        # The first call of a network takes longer; nobody is to wait for it before a camera.
        recognizer.score(torch.zeros((1, clips.clip_len, *clips.resize, 3), dtype=torch.uint8))
        self.on_msg(self._receive)

    def _receive(self, _: object, content: object, buffers: list[memoryview]) -> None:
        """Answer every message once, because the browser sends nothing before the answer."""
        try:
            message = _MESSAGES.validate_python(content)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"][-1:]))
            text = f"the page sent something else than frames or a file ({where}): load it again"
            self.send({"kind": "error", "text": text, "source": self._source})
            return
        source = message.source
        if source != self._source:
            self._source = source
            self._rolling = RollingRecognizer(self._recognizer)
            self._upload = bytearray()
        try:
            if isinstance(message, _FramesMessage):
                reply, pictures = self._frames(message, buffers)
            else:
                reply, pictures = self._file(message, buffers)
        except R21DError as error:
            reply, pictures = {"kind": "error", "text": str(error)}, []
        except Exception as error:
            self.send({"kind": "error", "text": f"{type(error).__name__}: {error}", "source": source})
            raise
        self.send({**reply, "source": source}, pictures)

    def _frames(
        self, message: "_FramesMessage", buffers: list[memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        if len(message.times) != len(buffers):
            raise VideoError(f"{len(buffers)} frames came with {len(message.times)} times")
        most = 4 * self.frame_size[0] * self.frame_size[1]
        for seconds, jpeg in zip(message.times, buffers, strict=True):
            try:
                with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
                    if picture.width * picture.height > most:
                        raise VideoError(f"a frame has {picture.width} x {picture.height} pixels")
                    pixels = np.array(picture.convert("RGB"))
            except (OSError, SyntaxError) as error:
                raise VideoError("a frame is no whole JPEG picture") from error
            self._rolling.push(pixels, seconds)
        answer = self._rolling.answer()
        if answer is None:
            return {"kind": "wait"}, []
        return {"kind": "answer", "top": _plain(answer.top(_SHOWN))}, []

    def _file(
        self, message: "_FileMessage", buffers: list[memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        name, size = Path(message.name).name, message.size
        arrived = len(self._upload) + sum(part.nbytes for part in buffers)
        fits = arrived <= size <= self.most_bytes
        if len(buffers) != 1 or len(self._upload) != message.at or not fits:
            raise VideoError(f"{name} did not arrive whole: drop it again")
        self._upload += buffers[0]
        if len(self._upload) < size:
            return {"kind": "received"}, []
        # A name of our own with the file's suffix: the browser's name never becomes a path.
        suffix = Path(name).suffix
        with tempfile.TemporaryDirectory(prefix="r21d-") as folder:
            path = Path(folder) / f"dropped{suffix if suffix[1:].isalnum() else ''}"
            path.write_bytes(self._upload)
            self._upload = bytearray()
            try:
                said = self._recognizer.predict(path, progress=False)
            except VideoError as error:
                raise VideoError(str(error).replace(str(path), name)) from error
        summary = f"{name}: {len(said.starts)} clips of {said.num_frames} frames, decoded by the kernel"
        picture = io.BytesIO()
        Image.fromarray(said.pictures[len(said.pictures) // 2]).save(picture, "JPEG")
        top = _plain(said.top(_SHOWN))
        return {"kind": "prediction", "top": top, "summary": summary}, [picture.getvalue()]


def _plain(answers: list[Answer]) -> list[tuple[str, float]]:
    return [(answer.label, answer.probability) for answer in answers]
