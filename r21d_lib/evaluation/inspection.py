"""What a network has learnt: its kernels, where it looks, and how it places videos."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from r21d_lib.data.cache import PreparedVideos
from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.data.clips import to_network
from r21d_lib.data.sampling import TestClips
from r21d_lib.errors import SettingsError
from r21d_lib.models.networks import VideoResNet


def temporal_kernels(network: VideoResNet) -> dict[str, Tensor]:
    """Return what the temporal steps of an R(2+1)D have learned, by the layer's path.

    Returns:
        (out * in, t) weights, on the CPU, of each convolution that spans frames only. Empty for other
        networks.
    """
    return {
        path: module.weight.detach().cpu().flatten(2).flatten(0, 1)
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv3d)
        and module.kernel_size[0] > 1
        and tuple(module.kernel_size[1:]) == (1, 1)
    }


# Patterns of three weights and what a kernel like them does to a pixel over time.
_PATTERNS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "blur": ((1, 1, 1), (1, 2, 1)),
    "derivative": ((-1, 0, 1), (-1, 1, 0), (0, -1, 1), (-1, 2, -1)),
    "delay": ((1, 0, 0), (0, 0, 1)),
    "present": ((0, 1, 0),),
}
TEMPORAL_KINDS = tuple(_PATTERNS)
NO_KIND = "none"  # of a kernel of zeros


def sort_temporal_kernels(kernels: Tensor) -> pd.DataFrame:
    """Name the pattern that each temporal kernel of three frames is most like.

    "blur" averages frames, "derivative" takes differences of them (what changes), "delay" passes on
    the frame before or after, "present" the frame itself. Likeness is the absolute cosine, so a kernel
    and its negative have one name. A kernel of zeros is like nothing, and is called "none".

    Args:
        kernels: (N, 3).

    Returns:
        A row a kernel: kind, likeness (0 to 1) and strength (its norm).

    Raises:
        SettingsError: if the kernels span another number of frames.
    """
    if kernels.ndim != 2 or kernels.shape[1] != 3:
        raise SettingsError(
            f"kernels of three frames are sorted, (N, 3), and these are {tuple(kernels.shape)}"
        )
    names = [kind for kind, patterns in _PATTERNS.items() for _ in patterns]
    patterns = [pattern for patterns in _PATTERNS.values() for pattern in patterns]
    directions = functional.normalize(torch.tensor(patterns, dtype=torch.float32))
    kernels = kernels.detach().float().cpu()
    likeness = (functional.normalize(kernels) @ directions.T).abs()
    best, strength = likeness.max(1), kernels.norm(dim=1)
    kinds = [
        names[i] if some else NO_KIND
        for i, some in zip(best.indices.tolist(), (strength > 0).tolist(), strict=True)
    ]
    return pd.DataFrame({"kind": kinds, "likeness": best.values.numpy(), "strength": strength.numpy()})


def separability(weight: Tensor) -> Tensor:
    """Return how much of each 3D kernel is one image times one course over time.

    A (2+1)D pair of one middle channel can be nothing else. The measure is the share of the squared
    weights that the best such product holds: 1 for separable kernels, about 0.6 for random ones of
    3 x 3 x 3.

    Args:
        weight: (out, in, t, h, w).

    Returns:
        (out, in), 0 to 1.
    """
    values = torch.linalg.svdvals(weight.detach().float().flatten(3))
    energy = values.square()
    return energy[..., 0] / energy.sum(-1).clamp_min(1e-12)


def grad_cam(
    network: VideoResNet, clips: Tensor, targets: Tensor, *, layer: str = "layer2"
) -> np.ndarray:
    """Return where in space and time a clip speaks for a class: Grad-CAM, by captum.

    Late layers know more and have hardly any frames left: R(2+1)D turns 8 frames into 4, 2 and 1 in
    layer2, layer3 and layer4.

    Args:
        network: is put into evaluation mode, on its device.
        clips: (N, 3, T, H, W), as `clips.to_network` gives them, on any device.
        targets: (N,) int64, the class that each clip is asked about.
        layer: whose activations are weighted.

    Returns:
        (N, T, H, W) float32, 0 to 1, each clip by its own highest value; 0 everywhere where nothing
        speaks for the class.

    Raises:
        SettingsError: if the network has no such layer.

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017.
    """
    from captum.attr import LayerGradCam

    modules = dict(network.named_modules())
    if layer not in modules:
        raise SettingsError(f"the network has no layer {layer!r}: choose layer1, layer2, ...")
    network.eval()
    device = next(network.parameters()).device
    clips, targets = clips.to(device), targets.to(device)
    with torch.enable_grad():
        maps = LayerGradCam(network, modules[layer]).attribute(clips, targets, relu_attributions=True)
    full = spread_over_clip(maps.detach(), clips.shape[2:])[:, 0]
    return (full / full.amax((1, 2, 3), keepdim=True).clamp_min(1e-12)).cpu().numpy()


def spread_over_clip(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Enlarge a layer's map to the clip, each value to where it was computed from.

    The middle of what cell i sees is frame or pixel i times the layer's stride: kernels are odd and
    padded by half. Between two cells values change evenly, behind the last one they stay.

    Args:
        maps: (N, C, T', H', W'), of a layer of `VideoResNet`.
        size: T, H and W of the clip.

    Returns:
        (N, C, T, H, W).
    """
    for axis, (length, cells) in enumerate(zip(size, maps.shape[2:], strict=True), start=2):
        # Strides halve, rounding up, so the two lengths give the stride: the first power of two that
        # leaves no more cells. What folds all frames into one (R2D) has one cell, wherever it lies.
        stride = 1
        while -(-length // stride) > cells:
            stride *= 2
        place = torch.arange(length, device=maps.device) / stride
        place = place.clamp(max=cells - 1)
        before = place.long()
        after = (before + 1).clamp(max=cells - 1)
        share = (place - before).to(maps.dtype).view(-1, *[1] * (maps.ndim - 1 - axis))
        maps = torch.lerp(maps.index_select(axis, before), maps.index_select(axis, after), share)
    return maps


@torch.inference_mode()
def video_features(
    network: VideoResNet, videos: PreparedVideos, clips: ClipSettings, *, num_clips: int = 3
) -> np.ndarray:
    """Return what the last layer sees of each video: (videos, C) float32, the mean over its clips.

    The network is put into evaluation mode, and computes on its device.
    """
    network.eval()
    device = next(network.parameters()).device
    loader = DataLoader(TestClips(videos, clips, num_clips), batch_size=None)
    rows = [
        network.avgpool(network.forward_features(to_network(frames.to(device), clips)))
        .flatten(1)
        .mean(0)
        .cpu()
        for frames, _, _ in tqdm(loader, desc="features", unit="video", delay=2)
    ]
    return torch.stack(rows).numpy()


def principal_plane(features: np.ndarray) -> np.ndarray:
    """Project (N, C) features onto their two directions of largest variance: (N, 2) float32.

    The signs are fixed, so that the same features always give the same picture. Where there is one
    video, or one feature, nothing varies along the second direction: it is 0 there.

    Raises:
        SettingsError: if there is no video.
    """
    if not len(features):
        raise SettingsError("there are no features to project: give those of one video or more")
    centred = features - features.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    found = np.arange(len(directions))
    signs = np.sign(directions[found, np.abs(directions).argmax(1)])
    plane = np.zeros((len(features), 2), np.float32)
    plane[:, found] = centred @ (directions * signs[:, None]).T
    return plane
