"""Kept frames: both libraries that decode them give the same pixels, and either alone serves."""

import numpy as np
import pytest
import torch

from r21d_lib.data import frame_store


def pictures():
    """Noise, slopes and edges, of sizes that JPEG's blocks of 8 and 16 pixels do and do not divide."""
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 9), (16, 17), (33, 31), (112, 112), (128, 171), (240, 320)):
        slope = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
        noise = random.integers(0, 256, (height, width, 3))
        blocks = np.kron(random.integers(0, 256, (height, width // 8 + 1, 3)), np.ones((1, 8, 1)))
        frames = np.stack([slope, noise, blocks[:, :width]]).astype(np.uint8)
        yield torch.from_numpy(frames)


@pytest.mark.parametrize("quality", [10, 75, 90, 100])
def test_simplejpeg_and_pil_decode_to_the_same_bits(quality, monkeypatch):
    pytest.importorskip("simplejpeg", reason="simplejpeg, of the extra [fast], is not installed")
    for frames in pictures():
        for encoded in frame_store.encode(frames, quality):
            got, wanted = (np.empty(frames.shape[1:], np.uint8) for _ in "ab")
            frame_store._decode_jpeg(encoded, got)
            with monkeypatch.context() as without:
                without.setattr(frame_store, "_simplejpeg", None)
                frame_store._decode_jpeg(encoded, wanted)
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("library", ["simplejpeg", "PIL"])
def test_frames_come_back_by_either_library(library, tmp_path, monkeypatch):
    if library == "PIL":
        monkeypatch.setattr(frame_store, "_simplejpeg", None)
    path = tmp_path / "store.sqlite"
    frames = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 20, 30, 3) * 40
    kept = frame_store.Frames(tmp_path, frame_store.encode(frames, 90))
    frame_store.write(path, [frame_store.StoredVideo("one", 20, 30, 90, 0, 0, kept)])
    read = frame_store.read(path, frame_store.find(path, "one"), np.array([0, 1, 4]))
    assert read.shape == (3, 20, 30, 3)
    assert (read.int() - frames[[0, 1, 4]].int()).abs().max() <= 1
