"""Weight files as others wrote them, made here: Caffe2 pickles by Python 2, blob by blob."""

import struct

import numpy as np
import torch

NORMS = ("s", "b", "rm", "riv")
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 152: (3, 8, 36, 3)}


def mids(n_in, n_out):
    """The paper's rule, written out once more."""
    return 27 * n_in * n_out // (9 * n_in + 3 * n_out)


def random_blobs(shapes, seed=0):
    """Draw blobs that keep a network's activations of order one."""
    rng = np.random.default_rng(seed)
    blobs = {}
    for name, shape in shapes.items():
        if name.endswith("_w"):
            # A blob of a convolution (out, in, t, h, w) or of the last layer (classes, features).
            fan_in = np.prod(shape[1:])
            values = rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        elif name.endswith(("_riv", "_s")) and "spatbn" in name:
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.standard_normal(shape) * 0.1
        blobs[name] = values.astype(np.float32)
    return blobs


def norm_shapes(prefix, n):
    return {f"{prefix}_{part}": (n,) for part in NORMS}


def r2plus1d_shapes(depth, classes, width=64):
    """Every blob of R(2+1)D with basic blocks, as section 4.2 of the facts lists them."""
    stem = round(45 * width / 64)
    shapes = {"conv1_middle_w": (stem, 3, 1, 7, 7), **norm_shapes("conv1_middle_spatbn_relu", stem)}
    shapes |= {"conv1_w": (width, stem, 3, 1, 1), **norm_shapes("conv1_spatbn_relu", width)}
    i, n_in = 0, width
    for group, count in enumerate(BLOCKS[depth]):
        n_out = width * 2**group
        for block in range(count):
            for j, n in ((1, n_in), (2, n_out)):
                m = mids(n, n_out)
                shapes[f"comp_{i}_conv_{j}_middle_w"] = (m, n, 1, 3, 3)
                shapes |= norm_shapes(f"comp_{i}_spatbn_{j}_middle", m)
                shapes[f"comp_{i}_conv_{j}_w"] = (n_out, m, 3, 1, 1)
                shapes |= norm_shapes(f"comp_{i}_spatbn_{j}", n_out)
            if block == 0 and group > 0:
                shapes[f"shortcut_projection_{i}_w"] = (n_out, n_in, 1, 1, 1)
                shapes |= norm_shapes(f"shortcut_projection_{i}_spatbn", n_out)
            i, n_in = i + 1, n_out
    shapes |= {f"last_out_L{classes}_w": (classes, n_in), f"last_out_L{classes}_b": (classes,)}
    return shapes


def blobs_of(network):
    """Name the tensors of one of our networks as Caffe2 would; for the families without a table."""
    blobs = {}

    def norm(prefix, module):
        values = (module.weight, module.bias, module.running_mean, module.running_var)
        blobs.update({f"{prefix}_{p}": v.detach().numpy() for p, v in zip(NORMS, values, strict=True)})

    def conv(name, norm_name, sequence):
        """Name a convolution and its norm, or the four parts of a factorized one."""
        parts = [module for module in sequence.modules() if hasattr(module, "weight")]
        if len(parts) == 4:
            blobs[f"{name}_middle_w"] = parts[0].weight.detach().numpy()
            norm(norm_name.replace("*", "_middle"), parts[1])
        blobs[f"{name}_w"] = parts[-2].weight.detach().numpy()
        norm(norm_name.replace("*", ""), parts[-1])

    conv("conv1", "conv1*_spatbn_relu", network.stem)
    i = 0
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in layer:
            for j, name in enumerate(("conv1", "conv2", "conv3"), start=1):
                if hasattr(block, name):
                    conv(f"comp_{i}_conv_{j}", f"comp_{i}_spatbn_{j}*", getattr(block, name))
            if block.downsample is not None:
                blobs[f"shortcut_projection_{i}_w"] = block.downsample[0].weight.detach().numpy()
                norm(f"shortcut_projection_{i}_spatbn", block.downsample[1])
            i += 1
    classes = network.fc.out_features
    blobs[f"last_out_L{classes}_w"] = network.fc.weight.detach().numpy()
    blobs[f"last_out_L{classes}_b"] = network.fc.bias.detach().numpy()
    return blobs


class Python2Pickle:
    """Writes what Python 2's cPickle wrote at protocol 2 for a dict of float32 arrays."""

    def __init__(self):
        self.parts, self.remembered = [b"\x80\x02"], {}

    def emit(self, *parts):
        self.parts += parts
        return self

    def text(self, value):
        raw = value.encode("latin1")
        return self.emit(b"U" + bytes([len(raw)]) + raw)

    def integer(self, value):
        small = 0 <= value < 256
        return self.emit(b"K" + bytes([value]) if small else b"J" + struct.pack("<i", value))

    def name(self, module, name):
        """A global, remembered at its first use as pickle does."""
        key = module, name
        if key in self.remembered:
            return self.emit(b"h" + bytes([self.remembered[key]]))
        self.remembered[key] = len(self.remembered)
        return self.emit(f"c{module}\n{name}\n".encode(), b"q" + bytes([self.remembered[key]]))

    def dtype(self, code="f4", order="<"):
        if (code, order) in self.remembered:
            return self.emit(b"h" + bytes([self.remembered[code, order]]))
        self.name("numpy", "dtype").text(code).integer(0).integer(1).emit(b"\x87R")
        self.remembered[code, order] = len(self.remembered)
        self.emit(b"q" + bytes([self.remembered[code, order]]))
        self.emit(b"(").integer(3).text(order).emit(b"NNN").integer(-1).integer(-1).integer(0)
        return self.emit(b"tb")

    def array(self, values, *, shape=None, code="f4", data=None):
        self.name("numpy.core.multiarray", "_reconstruct").name("numpy", "ndarray")
        self.integer(0).emit(b"\x85").text("b").emit(b"\x87R")
        self.emit(b"(").integer(1).emit(b"(")
        for n in values.shape if shape is None else shape:
            self.integer(n)
        data = values.astype("<f4").tobytes() if data is None else data
        self.emit(b"t").dtype(code).emit(b"\x89T" + struct.pack("<i", len(data)) + data)
        return self.emit(b"tb")

    def blobs(self, blobs):
        self.emit(b"}(")
        for name, values in blobs.items():
            self.text(name).array(values)
        return self.emit(b"u")

    def file(self, blobs, *, bare=False):
        """Return the whole file: {"blobs": {...}}, or the bare inner dict."""
        if not bare:
            self.emit(b"}").text("blobs")
        self.blobs(blobs)
        return b"".join(self.emit(b"." if bare else b"s.").parts)


def write_caffe2(path, blobs, *, bare=False):
    path.write_bytes(Python2Pickle().file(blobs, bare=bare))
    return path


def run_r2plus1d(blobs, clips, depth):
    """R(2+1)D from its blobs with torch.nn.functional alone, in evaluation mode."""
    from torch.nn import functional as F

    b = {name: torch.from_numpy(values) for name, values in blobs.items()}

    def norm(x, name):
        s, shift, mean, var = (b[f"{name}_{part}"] for part in NORMS)
        return F.batch_norm(x, mean, var, s, shift, training=False, eps=1e-3)

    x = F.conv3d(clips, b["conv1_middle_w"], stride=(1, 2, 2), padding=(0, 3, 3))
    x = norm(x, "conv1_middle_spatbn_relu").relu()
    x = norm(F.conv3d(x, b["conv1_w"], padding=(1, 0, 0)), "conv1_spatbn_relu").relu()
    counts = BLOCKS[depth]
    strided = {sum(counts[:group]) for group in (1, 2, 3)}
    for i in range(sum(counts)):
        y, stride = x, 2 if i in strided else 1
        for j, s in ((1, stride), (2, 1)):
            y = F.conv3d(y, b[f"comp_{i}_conv_{j}_middle_w"], stride=(1, s, s), padding=(0, 1, 1))
            y = norm(y, f"comp_{i}_spatbn_{j}_middle").relu()
            y = F.conv3d(y, b[f"comp_{i}_conv_{j}_w"], stride=(s, 1, 1), padding=(1, 0, 0))
            y = norm(y, f"comp_{i}_spatbn_{j}")
            y = y.relu() if j == 1 else y
        if i in strided:
            x = F.conv3d(x, b[f"shortcut_projection_{i}_w"], stride=stride)
            x = norm(x, f"shortcut_projection_{i}_spatbn")
        x = (x + y).relu()
    head = next(name for name in b if name.startswith("last_out_L") and name.endswith("_w"))
    return F.linear(x.mean((2, 3, 4)), b[head], b[head[:-1] + "b"])
