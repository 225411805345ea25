"""What a page sends to the kernel is input like any other: checked, and answered once."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from r21d_lib.live.widget import LiveRecognizer


@pytest.fixture(scope="module")
def widget():
    return LiveRecognizer()


def jpeg(width=32, height=24):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(buffer, "JPEG")
    return memoryview(buffer.getvalue())


def answers(widget, monkeypatch, message, buffers=()):
    sent = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append(content))
    widget._receive(widget, message, list(buffers))
    return sent


def file_message(**changes):
    return {"kind": "file", "source": "1", "name": "a.avi", "size": 4, "at": 0} | changes


WRONG = {
    "no message": (None, []),
    "a text": ("frames", []),
    "nothing in it": ({}, []),
    "no source": ({"kind": "frames", "times": [0.0]}, [jpeg()]),
    "a source that is a list": ({"kind": "frames", "source": [1], "times": [0.0]}, [jpeg()]),
    "an endless source": ({"kind": "frames", "source": "x" * 10**6, "times": [0.0]}, [jpeg()]),
    "another kind": ({"kind": "code", "source": "1"}, []),
    "no times": ({"kind": "frames", "source": "1"}, [jpeg()]),
    "a text for a time": ({"kind": "frames", "source": "1", "times": ["0"]}, [jpeg()]),
    "no number for a time": ({"kind": "frames", "source": "1", "times": [math.nan]}, [jpeg()]),
    "more times than frames": ({"kind": "frames", "source": "1", "times": [0.0, 1.0]}, [jpeg()]),
    "a frame that is none": (
        {"kind": "frames", "source": "1", "times": [0.0]},
        [memoryview(b"GIF89a")],
    ),
    "half a frame": ({"kind": "frames", "source": "1", "times": [0.0]}, [jpeg()[:300]]),
    "a frame of 144 million pixels": (
        {"kind": "frames", "source": "1", "times": [0.0]},
        [jpeg(12_000, 12_000)],
    ),
    "a text for a size": (file_message(size="4"), [memoryview(b"abcd")]),
    "a size below 0": (file_message(size=-1), [memoryview(b"abcd")]),
    "a size beyond the limit": (file_message(size=10**12), [memoryview(b"abcd")]),
    "a name that is a number": (file_message(name=7), [memoryview(b"abcd")]),
    "a part that is elsewhere": (file_message(at=2), [memoryview(b"ab")]),
    "a part too long": (file_message(), [memoryview(b"abcdefgh")]),
    "no part": (file_message(), []),
    "two parts": (file_message(), [memoryview(b"ab"), memoryview(b"cd")]),
    "a file that is no video": (file_message(name="../../x.avi"), [memoryview(b"abcd")]),
}


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("kind", WRONG)
def test_wrong_messages_are_answered_in_one_line(widget, monkeypatch, kind):
    message, buffers = WRONG[kind]
    (answer,) = answers(widget, monkeypatch, message, buffers)
    assert answer["kind"] == "error"
    assert answer["text"]
    assert "\n" not in answer["text"]
    assert isinstance(answer["source"], str)
    right = {"kind": "frames", "source": "2", "times": [0, 0.5]}
    (answer,) = answers(widget, monkeypatch, right, [jpeg(), jpeg()])
    assert answer["kind"] in ("wait", "answer")
    assert answer["source"] == "2"
