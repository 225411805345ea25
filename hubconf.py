"""Entry points for `torch.hub.load("OWNER/REPOSITORY", "r2plus1d_34", ...)`: one a network and depth.

Each takes the arguments of `r21d_lib.models.networks.build_network` after name and depth; or
`pretrained`, a name that `r21d weights` lists or a file, and the other arguments of
`r21d_lib.checkpoints.load`. It returns the network in evaluation mode.
"""

import r21d_lib.models.networks as _networks

dependencies = ["torch", "numpy", "safetensors", "tqdm"]


def _entry_point(network: str):
    name, depth = network.rsplit("_", 1)

    def build(pretrained: str | None = None, **options: object) -> _networks.VideoResNet:
        if pretrained is None:
            return _networks.build_network(name, int(depth), **options).eval()
        from r21d_lib import checkpoints
        from r21d_lib.errors import CheckpointError

        loaded, report = checkpoints.load(pretrained, **options)
        found = f"{loaded.settings.name}_{loaded.settings.depth}"
        if found != network:
            raise CheckpointError(f"{pretrained} holds {found}, not {network}: load it as {found}")
        print(report)
        return loaded

    build.__name__ = network
    build.__doc__ = f"Build {network}; its arguments are those that this module's first lines say."
    return build


globals().update({network: _entry_point(network) for network in _networks.list_networks()})
