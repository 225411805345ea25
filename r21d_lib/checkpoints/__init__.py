"""Weight files: every published form in, safetensors with a card out, heads replaced aloud."""

from r21d_lib.checkpoints.cards import Card, save, unnamed
from r21d_lib.checkpoints.labels import read_labels
from r21d_lib.checkpoints.loading import (
    SHIPPED,
    LoadReport,
    convert,
    load,
    read_card,
    shipped,
)
from r21d_lib.checkpoints.names import to_caffe2
from r21d_lib.checkpoints.zoo import Published, best, published

__all__ = [
    "SHIPPED",
    "Card",
    "LoadReport",
    "Published",
    "best",
    "convert",
    "load",
    "published",
    "read_card",
    "read_labels",
    "save",
    "shipped",
    "to_caffe2",
    "unnamed",
]
