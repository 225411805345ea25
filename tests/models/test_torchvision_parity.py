"""The same weights in torchvision's networks and in ours give the same answers and gradients."""

import pytest
import torch
from torchvision.models import video

from r21d_lib import checkpoints
from r21d_lib.models.networks import build_network

NETWORKS = {
    "r3d_18": ("r3d", {}),
    "mc3_18": ("mc3", {}),
    "r2plus1d_18": ("r2plus1d", {"midplane_rule": "block"}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def pair(request):
    torch.manual_seed(0)
    theirs = getattr(video, request.param)(weights=None, num_classes=10)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    name, options = NETWORKS[request.param]
    ours = build_network(name, 18, num_classes=10, bn_eps=1e-5, **options)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


@pytest.mark.parametrize("training", [False, True])
def test_logits_and_gradients(pair, training):
    theirs, ours = pair
    clips = torch.randn(2, 3, 8, 48, 48, generator=torch.Generator().manual_seed(1))
    results = []
    for net in (theirs, ours):
        net.train(training).zero_grad()
        logits = net(clips)
        torch.nn.functional.cross_entropy(logits, torch.tensor([3, 7])).backward()
        results.append((logits.detach(), {n: p.grad.clone() for n, p in net.named_parameters()}))
    torch.testing.assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-5)
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name], atol=1e-4, rtol=1e-4, msg=name)


def test_a_pth_of_torchvision_becomes_the_same_network(pair, tmp_path):
    theirs, ours = pair
    path = tmp_path / "theirs.pth"
    torch.save(theirs.state_dict(), path)
    loaded, report = checkpoints.load(path)
    assert loaded.settings == ours.settings
    assert report.grammar == "torchvision"
    clips = torch.randn(1, 3, 8, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clips), theirs.eval()(clips), atol=1e-5, rtol=1e-5)
