"""Intervals of accuracies: what another draw of test videos could have given."""


def wilson_interval(correct: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, at 95% by default.

    Unlike accuracy +- 2 standard errors it stays inside [0, 1] and has a width at 0 and at 1,
    which matters with 30 test videos a class. No videos give (0, 1): nothing is known.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if total == 0:
        return 0.0, 1.0
    p = correct / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z * ((p * (1 - p) + z * z / (4 * total)) / total) ** 0.5 / (1 + z * z / total)
    return max(0.0, centre - half), min(1.0, centre + half)
