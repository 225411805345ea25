"""A network's folded layers as OpenVINO runs them on a CPU, from a graph that is built in memory.

OpenVINO is optional (the extra `[fast]`) and imported when the first such layers are made.
"""

import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from r21d_lib.models.folded import FoldedConvolution, Operations, follow

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
_TELEMETRY = "openvino_telemetry"


class OpenVinoLayers(nn.Module):
    """Folded layers and the pooling after them, compiled for clips of any size.

    Args:
        layers: as `folded.fold` returns them in float32, on the CPU. Kernels in torch's plain order are
            taken without a copy.
        precision: of the arithmetic, "float32" or "bfloat16"; clips and features are float32 anyway.

    Raises:
        ImportError: if OpenVINO is not installed.
    """

    def __init__(self, layers: nn.Sequential, precision: str) -> None:
        super().__init__()
        openvino = import_openvino()
        operations = openvino.opset13
        first = next(layer for layer in layers.modules() if isinstance(layer, FoldedConvolution))
        shape = [-1, first.weight.shape[1], -1, -1, -1]
        clips = operations.parameter(shape, np.float32, name="clips")
        maps = follow(layers, clips, _operations(operations))
        pooled = operations.reduce_mean(maps, np.array([2, 3, 4]), keep_dims=False)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # processes that share a machine would share its first cores
        }
        compiled = openvino.Core().compile_model(openvino.Model([pooled], [clips]), "CPU", settings)
        self._request, self._busy = compiled.create_infer_request(), threading.Lock()

    def forward(self, clips: Tensor) -> Tensor:
        """(N, C, T, H, W) floating point to (N, features) float32, what the last layer sees."""
        with self._busy:  # a request serves one caller at a time
            found = self._request.infer([clips.float().contiguous().numpy()])
            return torch.from_numpy(found[0].copy())


def _operations(openvino: Any) -> Operations:
    def convolution(layer: FoldedConvolution, x: Any) -> Any:
        padding, stride, dilation, _ = layer.place
        # As a node of its own: of an array, OpenVINO makes one by a list of Python's numbers.
        kernel = np.ascontiguousarray(layer.weight.detach().numpy())
        weight = openvino.constant(kernel, shared_memory=True)
        bias = layer.bias.detach().numpy().reshape(1, -1, 1, 1, 1)
        return openvino.add(openvino.convolution(x, weight, stride, padding, padding, dilation), bias)

    def max_pool(layer: nn.MaxPool3d, x: Any) -> Any:
        place = (layer.stride, [1, 1, 1], layer.padding, layer.padding, layer.kernel_size)
        return openvino.max_pool(x, *place).output(0)

    return Operations(convolution, max_pool, openvino.add, openvino.relu)


def import_openvino() -> ModuleType:
    """Import OpenVINO without the package by which it reports each import to its maker's server."""
    before = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # an import of it fails, and a stub serves
    try:
        import openvino
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before
    return openvino
