"""Networks written for other runtimes: ONNX, and torch.export's program; each is tried against torch.

Both take (N, C, T, H, W) float32 clips, normalised as `clips.to_network` does, and give (N, classes)
logits, for any number of clips N and of frames T (R2D's T is its clip_len). The card of the checkpoint
(class names, how clips are cut and normalised) goes along under the key "r21d".
"""

import copy
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from r21d_lib import checkpoints
from r21d_lib.checkpoints import Card
from r21d_lib.checkpoints.cards import METADATA_KEY
from r21d_lib.data.clips import to_network
from r21d_lib.errors import CheckpointError, SettingsError
from r21d_lib.files import whole_file
from r21d_lib.models.folded import FoldedConvolution, Operations, fold, follow
from r21d_lib.models.networks import VideoResNet

# Any onnxruntime since 2022 reads these, in Python as in a browser.
OPSET, IR_VERSION = 17, 8
INPUT, OUTPUT = "clips", "logits"
# Relative to the largest logit where that is above 1; float32 sums differ in their order.
TOLERANCE = 1e-4
SUFFIXES = (".onnx", ".pt2")
_LARGEST_CARD = 4 * 2**20  # bytes; that of 4,000 classes has about a tenth


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how well it agrees with torch.

    Attributes:
        path: the file.
        largest_difference: of a logit, over all clips that were tried; relative to the largest logit
            where that is above 1.
        shapes: (clips, frames) of the batches that were tried.
        any_length: false for R2D, whose clips have one length.
    """

    path: Path
    largest_difference: float
    shapes: tuple[tuple[int, int], ...]
    any_length: bool

    def __str__(self) -> str:
        tried = ", ".join(f"{clips} x {frames}" for clips, frames in self.shapes)
        length = "any number of frames" if self.any_length else f"{self.shapes[0][1]} frames only (R2D)"
        return (
            f"{self.path.name}: {self.path.stat().st_size / 1e6:.1f} MB, "
            f"any number of clips, {length}; "
            f"largest difference from torch {self.largest_difference:.1e} "
            f"(clips x frames tried: {tried})"
        )


def export(checkpoint: str | Path, path: str | Path) -> ExportReport:
    """Write a checkpoint as .onnx or .pt2, by the suffix of `path`.

    Args:
        checkpoint: "figures" (the shipped one), or whatever `checkpoints.load` takes.
        path: the file to write.

    Raises:
        SettingsError: if the suffix is neither.
        CheckpointError: if the checkpoint does not load, or the written file does not agree.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise SettingsError(f"{path} is named neither .onnx nor .pt2: choose one of these endings")
    name = "r2plus1d_10_figures" if checkpoint == "figures" else checkpoint
    network, report = checkpoints.load(name)
    write = export_onnx if path.suffix == ".onnx" else export_program
    return write(network, report.card, path)


def export_onnx(network: VideoResNet, card: Card, path: str | Path) -> ExportReport:
    """Write a network as one ONNX file, try it with onnxruntime, and keep it only if it agrees.

    Batch norms are folded into the convolutions. Height and width are free, too.

    Args:
        network: in evaluation mode, on any device.
        card: of its checkpoint.
        path: the file to write.

    Raises:
        CheckpointError: if the logits differ from torch's by more than `TOLERANCE`.
    """
    import onnx
    import onnxruntime  # type: ignore[import-untyped]

    network = _on_cpu(network)
    model = _onnx_model(network, card)

    def reload(file: Path) -> Callable[[Tensor], Tensor]:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return lambda clips: torch.from_numpy(session.run([OUTPUT], {INPUT: clips.numpy()})[0])

    return _write_checked(network, card, Path(path), lambda file: onnx.save(model, file), reload)


def export_program(network: VideoResNet, card: Card, path: str | Path) -> ExportReport:
    """Write a network as a program of torch.export, reload it, and keep it only if it agrees.

    It runs without this package: `torch.export.load(path).module()(clips)`.

    Args:
        network: in evaluation mode, on any device; the program is one for the CPU.
        card: of its checkpoint, whose crop becomes the only height and width.
        path: the file to write.

    Raises:
        CheckpointError: if the logits differ from torch's by more than `TOLERANCE`, or the clips are
            too small.
    """
    from torch.fx.experimental import _config

    network = _on_cpu(network)
    free = {0: torch.export.Dim("clips")}
    if _any_length(network):
        free[2] = torch.export.Dim("frames")
    # Otherwise the program is bound to lengths for which every group has more than one frame left.
    with _config.patch(backed_size_oblivious=True):  # type: ignore[attr-defined]
        example = _random_clips(card, 2, card.clips.clip_len)
        try:
            program = torch.export.export(network, (example,), dynamic_shapes={"clips": free})
        except torch._dynamo.exc.UserError as error:  # one frame of one pixel behind the last group
            raise CheckpointError(
                f"{path} is not written: torch.export does not take clips of {card.clips.clip_len} "
                f"frames of {card.clips.crop} pixels at any length: export to .onnx"
            ) from error

    def write(file: Path) -> None:
        # Into memory first: on a full disk torch's own writer ends the whole process.
        packed = io.BytesIO()
        torch.export.save(program, packed, extra_files={METADATA_KEY: card.to_json()})
        file.write_bytes(packed.getbuffer())

    return _write_checked(
        network, card, Path(path), write, lambda file: torch.export.load(file).module()
    )


def read_exported_card(path: str | Path) -> Card:
    """Return the card in a file that `export` wrote.

    Raises:
        CheckpointError: if the file is missing, damaged, or carries none.
    """
    path = Path(path)
    try:
        if path.suffix == ".pt2":
            return Card.from_json(_archived_card(path))
        import onnx

        model = onnx.load(path, load_external_data=False)
        return Card.from_json({entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY])
    except Exception as error:  # two formats, JSON and settings can be wrong in as many ways
        raise CheckpointError(
            f"{path} is no network that `r21d export` wrote ({type(error).__name__}): export it again"
        ) from error


def _archived_card(path: Path) -> str:
    """Return the text of the card in a .pt2, of whose zip archive nothing else is read or run."""
    with zipfile.ZipFile(path) as archive:
        ending = f"extra/{METADATA_KEY}"
        (entry,) = (e for e in archive.infolist() if f"/{e.filename}".endswith(f"/{ending}"))
        if entry.file_size > _LARGEST_CARD:
            raise ValueError(f"its card announces {entry.file_size} bytes")
        return archive.read(entry).decode()


def _on_cpu(network: VideoResNet) -> VideoResNet:
    """Return the network, or a copy where it is on another device, on which it stays."""
    if next(network.parameters()).device.type == "cpu":
        return network
    return copy.deepcopy(network).cpu()


def _any_length(network: VideoResNet) -> bool:
    return network.settings.name != "r2d"


def _random_clips(card: Card, num_clips: int, num_frames: int) -> Tensor:
    """Draw noise as it reaches the network: (num_clips, C, num_frames, crop, crop) float32."""
    random = torch.Generator().manual_seed(num_clips * 1000 + num_frames)
    crop = card.clips.crop
    pixels = torch.randint(
        256,
        (num_clips, num_frames, crop, crop, card.clips.channels),
        dtype=torch.uint8,
        generator=random,
    )
    return to_network(pixels, card.clips).contiguous()


def _write_checked(
    network: VideoResNet,
    card: Card,
    path: Path,
    write: Callable[[Path], Any],
    reload: Callable[[Path], Callable[[Tensor], Tensor]],
) -> ExportReport:
    """Write a file and put it in place only if what it holds agrees with the network."""
    length = card.clips.clip_len
    shapes: tuple[tuple[int, int], ...] = ((1, length), (3, length), (2, length))
    if _any_length(network):
        shapes = ((1, length), (3, length), (2, 2 * length), (1, max(1, length - 3)))
    largest = 0.0
    with whole_file(path) as partial, torch.inference_mode():
        write(partial)
        exported = reload(partial)
        for shape in shapes:
            clips = _random_clips(card, *shape)
            expected = network(clips)
            logits = exported(clips)
            if not bool(torch.isfinite(expected).all() & torch.isfinite(logits).all()):
                raise CheckpointError(
                    f"{path} is not written: its logits are not finite: check the checkpoint"
                )
            scale = max(1.0, float(expected.abs().max()))
            largest = max(largest, float((logits - expected).abs().max()) / scale)
        if not largest <= TOLERANCE:
            raise CheckpointError(
                f"{path} is not written: its logits differ from torch's by {largest:.1e}, more than "
                f"{TOLERANCE:.0e}: update onnxruntime and torch"
            )
    return ExportReport(path, largest, shapes, _any_length(network))


class _Graph:
    """Collects an ONNX graph's nodes and weights; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, values: Tensor) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        name = f"w{len(self.weights)}"
        array = np.ascontiguousarray(values.detach().numpy())
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an operation."""
        from onnx import helper

        name = output or f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def follow(self, layers: nn.Sequential, x: str) -> str:
        """Add what folded layers do, one after the other."""

        def convolution(layer: FoldedConvolution, x: str) -> str:
            padding, stride, *_ = layer.place
            window = _window(layer.weight.shape[2:], stride, padding)
            return self.node("Conv", x, self.weight(layer.weight), self.weight(layer.bias), **window)

        def max_pool(layer: nn.MaxPool3d, x: str) -> str:
            return self.node("MaxPool", x, **_window(layer.kernel_size, layer.stride, layer.padding))

        add, relu = partial(self.node, "Add"), partial(self.node, "Relu")
        return follow(layers, x, Operations(convolution, max_pool, add, relu))


def _window(kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """Return a convolution's or a pooling's window in ONNX's terms: padding has a begin and an end."""
    return {"kernel_shape": tuple(kernel), "strides": tuple(stride), "pads": [*padding, *padding]}


def _onnx_model(network: VideoResNet, card: Card) -> Any:
    """Build the ONNX model of a network.

    torch.onnx.export(dynamo=True) does so by way of a tracer and another package, in many seconds a
    network, and binds those with a pool1 to one length and size (torch 2.15). These networks are made
    of six operators, and the result is tried against torch either way.
    """
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    x = graph.follow(fold(network, order=torch.contiguous_format), INPUT)
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", x), axis=1)
    weights = [graph.weight(values) for values in (network.fc.weight, network.fc.bias)]
    graph.node("Gemm", pooled, *weights, output=OUTPUT, transB=1)
    frames = "frames" if _any_length(network) else network.settings.clip_len
    clips: list[str | int | None] = ["clips", network.settings.in_channels, frames, "height", "width"]
    logits: list[str | int | None] = ["clips", network.settings.num_classes]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"{network.settings.name}_{network.settings.depth}",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, clips)],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, logits)],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="r21d",
    )
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    checker.check_model(model)
    return model
