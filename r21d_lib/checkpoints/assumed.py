"""What no foreign weight file tells: it is taken from the code that wrote files of such names."""

from r21d_lib.data.clip_settings import ClipSettings
from r21d_lib.models.settings import NetworkSettings, Pool

# Of Kinetics, RGB, as fractions of 255: what kenshohara's main.py subtracts and divides by unless it is
# told otherwise. VMZ, IG-65M and torchvision share those of `ClipSettings`.
KENSHOHARA_MEAN = (0.4345, 0.4051, 0.3775)
KENSHOHARA_STD = (0.2768, 0.2713, 0.2737)
# Written into torchvision's code: channels after conv1, and the frames that it spans.
_TORCHVISION_STEM = (64, 3)
_TORCHVISION_NAMES = ("r3d", "mc2", "mc3", "mc4", "mc5", "r2plus1d")


def usual_pool(grammar: str) -> Pool:
    """Return the pooling after conv1, by a `NamedWeights.grammar`."""
    return "space-time" if grammar == "kenshohara" else "none"


def usual_bn_eps(grammar: str, settings: NetworkSettings) -> float:
    """Return the epsilon of the batch norms.

    It is 1e-3 in Caffe2, in R(2+1)D by the paper's rule (VMZ, IG-65M), and where torchvision's code
    builds no such network: then this library's probably did. Its others of 64 channels look exactly
    like torchvision's, of 1e-5.
    """
    if grammar == "kenshohara":
        return 1e-5
    papers_rule = settings.name == "r2plus1d" and settings.midplane_rule == "conv"
    of_torchvision = (
        grammar == "torchvision"
        and (settings.width, settings.stem_t) == _TORCHVISION_STEM
        and settings.name in _TORCHVISION_NAMES
        and not papers_rule
    )
    return 1e-5 if of_torchvision else 1e-3


def usual_clips(grammar: str, settings: NetworkSettings) -> ClipSettings:
    """Return how clips are cut and normalised: flow as for VMZ's networks, the only ones known."""
    clip_len = settings.clip_len or 16
    if settings.in_channels == 2:
        return ClipSettings(clip_len, modality="flow")
    if grammar == "kenshohara":
        return ClipSettings(clip_len, mean=KENSHOHARA_MEAN, std=KENSHOHARA_STD)
    return ClipSettings(clip_len)
