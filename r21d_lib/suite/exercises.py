"""Exercises: what a notebook's cells check a reader's answers with."""

from collections.abc import Callable
from functools import wraps
from typing import Any

Check = Callable[..., None]


def exercise(number: int) -> Callable[[Check], Check]:
    """Make a function of assertions the check of an exercise.

    The check prints one line: that the answer is yet to be written, or that it is right. It is yet to
    be written while it, or a member of it, is `...`, or while its function raises NotImplementedError.

    Args:
        number: the exercise's, in its notebook.

    Returns:
        A decorator. What it returns takes the answers that the decorated function takes.

    Raises:
        AssertionError: of the check, for a wrong answer; it says what is wrong.
    """

    def decorate(assertions: Check) -> Check:
        @wraps(assertions)
        def check(*answers: Any) -> None:
            try:
                if any(_is_missing(answer) for answer in answers):
                    raise NotImplementedError
                assertions(*answers)
            except NotImplementedError:
                print(f"Exercise {number}: write your answer above and run this cell again.")
            else:
                print(f"Exercise {number}: right.")

        return check

    return decorate


def _is_missing(answer: Any) -> bool:
    members = answer.values() if isinstance(answer, dict) else answer
    return answer is ... or (
        isinstance(answer, tuple | list | dict) and any(member is ... for member in members)
    )
