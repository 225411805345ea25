"""What the study of changed networks says of the paper's two reasons for factorizing, in sentences."""

from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.models.settings import LABELS
from r21d_lib.suite.statistics import Study, is_late
from r21d_lib.suite.wording import counted, points, sign, stands


def of_ablations(study: Study) -> str:
    """Set each changed network beside the one that it is a change of, and say what follows.

    A sentence each, then which of the paper's reasons holds, then which networks wait for their runs.

    Args:
        study: from `ledger.ablations`.
    """
    sentences = []
    for name in (name for name in ABLATIONS if name in study.networks):
        changed = ABLATIONS[name]
        label, base = changed.label, LABELS[changed.base]
        test, training = (study.lead(name, changed.base, m) for m in ("video@1", "train_accuracy"))
        sentences.append(
            f"**{label}** asks {changed.asks}. It {stands(test)} {base}: {points(test, 'video@1')} "
            f"({_rests_on(test, study)}); {points(training)} of training accuracy.{_late(study, name)}"
        )
    waiting = [changed.label for name, changed in ABLATIONS.items() if name not in study.networks]
    if waiting:
        sentences.append(f"Not run yet: {'; '.join(waiting)}.")
    return "\n\n".join(filter(None, [*sentences, of_reasons(study)]))


def of_reasons(study: Study) -> str:
    """Say which of the paper's two reasons for factorizing holds, and where in the network.

    Args:
        study: from `ledger.ablations`.

    Returns:
        "" where a network that tells is missing.
    """
    linear, factorized, stem_3d = "r2plus1d_linear", "r3d_factorized_stem", "r2plus1d_3d_stem"
    if not {linear, factorized, stem_3d, "r2plus1d", "r3d"} <= set(study.networks):
        return ""
    without, poorer = study.lead(linear, "r2plus1d"), study.lead(linear, "r3d")
    learnt = study.lead(linear, "r3d", "train_accuracy")
    first = {
        0: "does not show: R(2+1)D with the middle ones and without them cannot be told apart",
        1: "does not hold: without the middle ones R(2+1)D is better",
        -1: "holds: without the middle ones R(2+1)D is worse",
    }[sign(without)]
    second = (
        "The second, an easier optimisation, shows: without its ReLU a pair is a 3D kernel of lower "
        "rank, which R3D could learn as well, and yet that network is ahead of R3D"
        if sign(poorer) == sign(learnt) == 1
        else "The second, an easier optimisation, does not show: without its ReLU a pair is a 3D "
        "kernel of lower rank, and that network is not clearly ahead of R3D"
    )
    if "r2plus1d_no_norm" in study.networks:
        lost = study.lead("r2plus1d_no_norm", "r2plus1d")
        norms = {
            0: "The additional norms are not seen to matter",
            1: "The additional norms do harm",
            -1: "The additional norms are part of what eases it",
        }[sign(lost)]
        norms += f" (without them {points(lost)} points of video@1; {_rests_on(lost, study)}). "
    else:
        norms = "Whether the additional norms ease it is not known: the run without them waits. "
    ends = study.lead(factorized, "r2plus1d"), study.lead(stem_3d, "r3d")
    moved = study.lead(factorized, "r3d"), study.lead(stem_3d, "r2plus1d")
    if [sign(lead) for lead in moved] == [1, -1]:
        place = "It is the first layer that counts"
    elif [sign(lead) for lead in moved] == [0, 0]:
        place = "It is not the first layer alone that counts"
    else:
        place = "Whether it is the first layer that counts is not settled"
    behind = {
        0: "So behind a 3D stem, factorizing all other layers is not seen to help.",
        1: "So factorizing the other layers helps as well.",
        -1: "So behind a 3D stem, factorizing all other layers does harm.",
    }[sign(ends[1])]
    return (
        f"**Which reason holds here?** The first, more ReLUs, {first} ({points(without)} points of "
        f"video@1). {second} ({points(poorer)} points of video@1 and {points(learnt)} of training "
        f"accuracy). {norms}{place}: R3D with a (2+1)D stem is {points(ends[0])} points from R(2+1)D, "
        f"and R(2+1)D with a 3D stem {points(ends[1])} from R3D. {behind}"
    )


def _rests_on(lead: dict[str, float], study: Study) -> str:
    """Say how many seeds and groups a difference rests on, and what a single seed leaves open."""
    text = counted(lead["seeds"], lead["groups"], study.unit)
    if lead["seeds"] == 1:
        text += ": how far another seed would move it is not in the interval"
    return text


def _late(study: Study, name: str) -> str:
    """Say how many of a network's runs were at chance after a quarter of their epochs, if any were."""
    runs = [run for run in study.runs if run["network"] == name]
    late = sum(map(is_late, runs))
    if not late:
        return ""
    return (
        f" {late} of its {len(runs)} runs were at chance after a quarter of the epochs: its rate, "
        f"{study.rates[name]:g}, is too high, and what it does with a lower one is not known yet."
    )
