"""Optical flow: how far each pixel moves from one frame to the next, by Farneback's method, in 8 bits.

The flow of a video of T frames is T - 1 fields, of one frame a single field of zeros. It is computed
once, between the frames as they are kept (resized), and kept as bytes: a byte is a 127th of 20 pixels,
128 is no motion. So what the method finds of up to 20 pixels a frame is kept to 20 / 254 = 0.079
pixels, and more is clipped. The method itself loses fast motion before that: of a smooth pattern that
moves by 10, 19 and 25 pixels a frame it finds 9.9, 13.4 and -3.2, in the median. A field is mirrored
as 256 less its byte, its columns turned round. Computed from the mirrored video it is nearly that: of
a drawn runner few bytes differ, by up to 3, which are 0.47 pixels.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from r21d_lib.errors import SettingsError

BOUND = 20.0  # pixels a frame; what is found to move faster is kept as moving so fast
STILL = 128  # the byte of no motion
STEPS = 127  # bytes from no motion to the bound, on either side
LARGEST_ERROR = BOUND / STEPS / 2  # pixels, by which a byte misses the flow that was found

# Those of Caffe2's video operator, by which VMZ's flow networks were trained and tested.
_PYRAMID, _LEVELS, _WINDOW, _ITERATIONS, _POLY_N, _POLY_SIGMA = 0.5**0.5, 5, 10, 2, 7, 1.5


def farneback(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return by how much each pixel of one frame is moved in the next.

    Args:
        before: (H, W, 3) uint8 RGB.
        after: the same.

    Returns:
        (H, W, 2) float32, to the right and down [pixels].

    Raises:
        SettingsError: if OpenCV is not installed.

    Source: Farneback, "Two-frame motion estimation based on polynomial expansion", 2003; the settings
        are those of Caffe2's `video/optical_flow.cc`.
    """
    return _between(*(_grey(frame) for frame in (before, after)))


def encode(flow: np.ndarray) -> np.ndarray:
    """Return flow as bytes: (..., 2) pixels to (..., 2) uint8 from 1 to 255, clipped at 20 pixels."""
    steps = np.rint(np.clip(flow, -BOUND, BOUND) * (STEPS / BOUND))
    return (steps + STILL).astype(np.uint8)


def decode(codes: np.ndarray) -> np.ndarray:
    """Return bytes as flow again: (..., 2) uint8 to (..., 2) float32 [pixels]."""
    return (codes.astype(np.float32) - STILL) * np.float32(BOUND / STEPS)


def of_frames(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the flow from each frame to the next, as bytes.

    Args:
        frames: (H, W, 3) uint8 RGB, of one size.

    Yields:
        (H, W, 2) uint8, one less than there are frames; one field without motion for a single frame.

    Raises:
        SettingsError: if OpenCV is not installed.
    """
    greys = (_grey(frame) for frame in frames)
    before = next(greys, None)
    if before is None:
        return
    after = next(greys, before)  # of a single frame there is no next one, and nothing moves
    yield encode(_between(before, after))
    for grey in greys:
        before, after = after, grey
        yield encode(_between(before, after))


def _between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    cv2 = _opencv()
    options = (_PYRAMID, _LEVELS, _WINDOW, _ITERATIONS, _POLY_N, _POLY_SIGMA)
    flow: np.ndarray = cv2.calcOpticalFlowFarneback(
        before, after, None, *options, cv2.OPTFLOW_FARNEBACK_GAUSSIAN
    )
    return flow


def _grey(frame: np.ndarray) -> np.ndarray:
    cv2 = _opencv()
    grey: np.ndarray = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    return grey


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise SettingsError(
            "optical flow is computed by OpenCV, which is not installed: pip install "
            "opencv-python-headless, or 'r21d-lib[flow]'"
        ) from error
    cv2.setNumThreads(1)  # videos are decoded side by side, a process each
    return cv2
