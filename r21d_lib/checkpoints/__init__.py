"""Weight files: every published form in, safetensors with a card out; a replaced head is reported."""

from r21d_lib.checkpoints.cards import Card, save, unnamed
from r21d_lib.checkpoints.formats.named import to_caffe2
from r21d_lib.checkpoints.load import SHIPPED, LoadReport, convert, load, read_card, shipped, table
from r21d_lib.checkpoints.on_hub import is_on_hub, weights_in
from r21d_lib.checkpoints.published import Published, best, published
from r21d_lib.data.class_names import read_labels
