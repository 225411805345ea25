"""The exercises of the notebooks: each has a cell that refuses wrong answers and takes its solution.

Checks and solutions stand alone: they run here without the notebook's other cells.
"""

import re

import nbformat
import numpy as np
import pytest
import torch

from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.models.networks import build_network
from r21d_lib.suite import copies, runner
from r21d_lib.suite.exercises import exercise
from r21d_lib.suite.repository import NOTEBOOK_FOLDER


def _of_videos(difference, videos):
    """Return an interval that takes videos for independent of each other: too narrow."""
    share = difference.mean(0).sum() / videos.sum()
    each = np.repeat(difference.mean(0) / videos, videos)
    half = 1.96 * each.std() / np.sqrt(len(each) * len(difference))
    return share - half, share + half


def _flat_from_conv4(r3d):
    """Return MC4 in place of MC3."""
    return build_network("mc4", 18, num_classes=12, width=8, seed=0)


# For each exercise answers that a reader may well give and that are wrong; each is a tuple, since some
# checks take two.
WRONG = {
    "00_start_here": [
        [(lambda clip_len, stride: clip_len * stride,)],
        [
            (lambda start, clip_len, stride, num: [start + k * stride for k in range(clip_len)],),
            (lambda start, clip_len, stride, num: [(start + k) % num for k in range(clip_len)],),
        ],
        [([0, 20, 40],), ([0, 38],), ([0, 18, 38],)],
    ],
    "01_videos_become_clips": [
        [((0, 4, 46),), ((1, 5, 46),), ((0, 5, 47),)],
        [(46,), (78,)],
        [
            (
                lambda start, length, here, trained: [
                    start + k * here // trained for k in range(length)
                ],
            ),
            (lambda start, length, *_: list(range(start, start + length)),),
        ],
    ],
    "02_spatiotemporal_convolutions": [
        [
            (lambda n_in, n_out, t=3, d=3: t * d * d * n_in * n_out // (d * d * n_in + t * n_in),),
            (lambda n_in, n_out, t=3, d=3: t * d * d * n_in * n_out / (d * d * n_in + t * n_out),),
        ],
        [("f-R2D",), ("rMC3",), ("R3",)],
        [(([[0, 0, 0], [-1, 0, 1], [0, 0, 0]], [-1, 0, 1]),), ((np.zeros((3, 3)), [1, 0, 1]),)],
    ],
    "03_the_networks": [
        [(_flat_from_conv4,), (lambda r3d: r3d,), (lambda r3d: None,)],
        [((64, 64), lambda *_, d=3: 83), ((64, 128), lambda n_in, n_out, t=3, d=3: 9 * n_in // 4)],
        [(("conv2_x", "conv5_x"),), (("fc", "conv1"),)],
    ],
    "04_the_race": [
        [(840,), (840 * 25,), (24 * 16,)],
        [(_of_videos,), (lambda difference, videos: (-1.0, 1.0),)],
        [(1.0,), (0.5,), (75,)],
    ],
    "04b_why_factorize": [
        [
            (torch.eye(3)[:, None].expand(3, 3, 3), 2),
            (torch.eye(9)[[1, 5, 1]].reshape(3, 3, 3), 3),
            (torch.eye(9)[[1, 1, 1]].reshape(3, 3, 3), 1),
        ],
        [
            (lambda kernel: (kernel[0], kernel[:, :, :, 0, 0].permute(0, 1, 2)), 147_456),
            (lambda kernel: _padded_pair(kernel), 147_456),
        ],
        [({name: "above" for name in ABLATIONS if name in ("r2plus1d_3d_stem", "r3d_more_relus")},)],
    ],
    "05_checkpoints": [
        [(lambda blobs: 400,), (lambda blobs: len(blobs),)],
        [
            (lambda blobs: 34,),
            (lambda blobs: sum(re.match(r"comp_\d+_conv", n) is not None for n in blobs),),
        ],
        [(9.99,), (1.0,), (5.99,)],
    ],
    "06_finetune_hmdb51": [
        [(1536, 0.007), (1548, 0.5)],
        [(lambda epoch, highest, epochs, warmup: highest * (1 - epoch / epochs),)],
        [(lambda logits, labels, smoothing: torch.nn.functional.cross_entropy(logits, labels),)],
    ],
    "07_evaluate_hmdb51": [
        [(lambda right, total: _normal(right, total),)],
        [([[0.4, 0.6], [0.4, 0.6], [0.4, 0.6]],), ([[1, 1], [0, 1], [0, 1]],), ([[2, -1]] * 3,)],
        [
            (lambda p, y: ((p.argmax(2) == y[:, None]).mean(),) * 2,),
            (lambda p, y: (0.25, (np.median(p.argmax(2), 1) == y).mean()),),
        ],
    ],
    "07b_films_and_clip_length": [
        [((16, 0.26, 0.24),), ((4, 0.9, 0.24),), ((4, 0.26, 0.3),)],
        [((0, 0),), ((1, 1),)],
        [(lambda frames: 80 / frames**2,), (lambda frames: 10,)],
    ],
    "08_does_it_see_motion": [
        [({"f-R2D", "R2D"},), (set(),), ({"MC2"},)],
        [((0, 20),), ((5, 15),), ((0, 10),)],
        [(lambda clips, video: clips.flip(1),), (lambda clips, video: clips[:, 4:],)],
    ],
    "09_inside_the_network": [
        [((-1, 0, 1),), ((0, 0, 0),), ((1, 1, 1),)],
        [(torch.ones(3, 3, 3),), (torch.zeros(3, 3, 3),), (torch.ones(3, 9),)],
        [
            (lambda maps, slopes: (maps * slopes).sum(0).clamp(min=0),),
            (lambda maps, slopes: (slopes.mean((1, 2, 3))[:, None, None, None] * maps).sum(0),),
        ],
    ],
    "09b_two_streams": [
        [((1, 1),), ((0, 1),), ((0.5, 0),)],
        [(lambda fields: fields[::-1],), (lambda fields: -fields,)],
        [(lambda rgb, flow, w: w * rgb + (1 - w) * flow,), (lambda rgb, flow, w: rgb + flow,)],
    ],
    "10_the_ledger": [
        [(lambda count, printed: abs(count - float(printed)) < 0.1,), (lambda *_: True,)],
        [((36, 0),), ((24, 12),), ((12, 12),)],
        [("0000000",), (1234567,)],
    ],
}


def _normal(right, total):
    share = right / total
    half = 1.96 * (share * (1 - share) / total) ** 0.5
    return share - half, share + half


def _padded_pair(kernel):
    """Return a pair that is equal to the kernel, with a midplane more than it needs."""
    out, into = kernel.shape[:2]
    matrix = kernel.permute(1, 3, 4, 0, 2).reshape(9 * into, 3 * out)
    space, time = matrix.T.reshape(-1, into, 3, 3), torch.eye(3 * out).double()
    return torch.cat([space, 0 * space[:1]]), torch.cat([time, time[:1]]).reshape(-1, out, 3).transpose(
        0, 1
    )


@pytest.fixture(params=runner.NOTEBOOKS)
def name(request):
    return request.param


@pytest.fixture
def cells(name):
    return nbformat.read(NOTEBOOK_FOLDER / f"{name}.ipynb", as_version=4).cells


def checks_of(cells):
    return [cell for cell in cells if copies.CHECK in cell.metadata.get("tags", [])]


def test_a_check_stands_behind_every_exercise(cells):
    asked = [cell for cell in cells if "<summary>Solution</summary>" in cell.source]
    assert 3 <= len(asked) <= 4
    assert len(checks_of(cells)) == len(asked)
    for number, cell in enumerate(asked, 1):
        assert cell.source.startswith(f"**Exercise {number}"), cell.source[:60]
        assert cell.source.count("<summary>Solution</summary>") == 1
        behind = cells[cells.index(cell) + 1]
        assert behind in checks_of(cells)
        assert f"@exercise({number})\ndef check_{number}(" in behind.source
    assert any("real work" in cell.source for cell in asked)


def test_checks_leave_the_notebooks_names_alone(cells):
    for cell in checks_of(cells):
        own = re.findall(r"^(?:def )?(\w+)(?: =|\()", cell.source, re.MULTILINE)
        assert all(re.match(r"my_|check_\d|planted", name) for name in own), own


def test_unanswered_refused_and_right(name, cells, capsys):
    for number, (cell, answers) in enumerate(zip(checks_of(cells), WRONG[name], strict=True), 1):
        names = {}
        exec(cell.source, names)
        said = capsys.readouterr().out
        assert said == f"Exercise {number}: write your answer above and run this cell again.\n"
        for answer in answers:
            with pytest.raises(AssertionError) as refused:
                names[f"check_{number}"](*answer)
            assert len(str(refused.value)) > 12, "it says what is wrong"
        assert capsys.readouterr().out == ""
        (solution,) = copies.solutions(nbformat.v4.new_notebook(cells=[cells[cells.index(cell) - 1]]))
        exec(solution, names)
        assert capsys.readouterr().out.endswith(f"Exercise {number}: right.\n")


def test_an_answer_is_to_be_written_until_all_of_it_is_there(capsys):
    @exercise(7)
    def check(one, other):
        assert one == other

    check(..., 1)
    check((1, ...), 1)
    check({"a": ...}, 1)
    assert capsys.readouterr().out.count("write your answer above") == 3
    check(1, 1)
    assert capsys.readouterr().out == "Exercise 7: right.\n"
    with pytest.raises(AssertionError):
        check(1, 2)
