"""How a difference, its interval and what they rest on are put into words, the same in all texts."""

from collections.abc import Mapping


def sign(lead: Mapping[str, float]) -> int:
    """Return 1 or -1 where the interval of `Study.lead` lies on one side of zero, else 0."""
    return int(lead["low"] > 0) - int(lead["high"] < 0)


def stands(lead: Mapping[str, float]) -> str:
    """Say how the one stands to the other, for a sentence that names both."""
    return {0: "cannot be told from", 1: "is ahead of", -1: "is behind"}[sign(lead)]


def points(lead: Mapping[str, float], of: str = "") -> str:
    """Write a difference of accuracies in points with its interval, where it has one.

    Args:
        lead: from `Study.lead`, whose bounds are NaN where a single seed gives no interval.
        of: what it is a difference of, such as "video@1".
    """
    mean, low, high = (100 * lead[key] for key in ("mean", "low", "high"))
    difference = f"{mean:+.1f}" + (f" points of {of}" if of else "")
    return difference + (f" [{low:+.1f}, {high:+.1f}]" if low <= high else "")


def counted(seeds: float, groups: float, unit: str) -> str:
    """Say how many seeds and groups an interval rests on; 0 groups where it is over seeds alone."""
    of_groups = f", {groups:.0f} {unit}" if groups else ""
    return f"{seeds:.0f} {'seed' if seeds == 1 else 'seeds'}{of_groups}"
