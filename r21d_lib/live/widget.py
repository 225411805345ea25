"""The widget that recognises what the browser's camera, a screen or a dropped file shows.

The browser takes the frames, so that it works wherever the kernel is. See static/live.js for its side.
"""

import io
import tempfile
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from PIL import Image

from r21d_lib.errors import R21DError, VideoError
from r21d_lib.live.rolling import TRAINED_FPS, RollingRecognizer
from r21d_lib.prediction.prediction import Answer
from r21d_lib.prediction.recognizer import Recognizer

_STATIC = Path(__file__).with_name("static")
_SHARPNESS = 2  # times the network's size, at which frames are sent
_SHOWN = 5


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
            rate=TRAINED_FPS / clips.stride,
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

    def _receive(self, _: object, message: dict[str, Any], buffers: list[memoryview]) -> None:
        """Answer every message once, because the browser sends nothing before the answer."""
        source = message["source"]
        if source != self._source:
            self._source = source
            self._rolling = RollingRecognizer(self._recognizer)
            self._upload = bytearray()
        try:
            handle = {"frames": self._frames, "file": self._file}[message["kind"]]
            reply, pictures = handle(message, buffers)
        except R21DError as error:
            reply, pictures = {"kind": "error", "text": str(error)}, []
        except Exception as error:
            self.send({"kind": "error", "text": f"{type(error).__name__}: {error}", "source": source})
            raise
        self.send({**reply, "source": source}, pictures)

    def _frames(
        self, message: dict[str, Any], buffers: list[memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        for seconds, jpeg in zip(message["times"], buffers, strict=True):
            with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as picture:
                self._rolling.push(np.asarray(picture.convert("RGB")), seconds)
        answer = self._rolling.answer()
        if answer is None:
            return {"kind": "wait"}, []
        return {"kind": "answer", "top": _plain(answer.top(_SHOWN))}, []

    def _file(
        self, message: dict[str, Any], buffers: list[memoryview]
    ) -> tuple[dict[str, Any], list[bytes]]:
        name, size = Path(message["name"]).name, message["size"]
        if len(self._upload) != message["at"] or size > self.most_bytes:
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
