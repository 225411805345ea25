"""The guard of prose: no text of the suite holds a number that nothing measured or computed."""

import prose
import pytest

from r21d_lib.suite import findings
from r21d_lib.suite.repository import BENCHMARKS, REPOSITORY


@pytest.fixture(scope="module")
def known():
    return prose.facts()


def test_every_number_in_prose_is_founded(known):
    wrong = {name: prose.unfounded(text, known) for name, text in prose.texts()}
    assert {name: numbers for name, numbers in wrong.items() if numbers} == {}


@pytest.mark.parametrize(
    "sentence",
    [
        "R(2+1)D reaches 0.937 here.",
        "It is 36 points ahead.",
        "O R(2+1)D está 36 pontos à frente.",
        "acerta 93,7% dos vídeos",
        "An epoch takes 7.5 seconds, and 1,234 MB.",
        "It is right in 12% of the clips, five times as often.",
        "`make run` takes 23 minutes.",
    ],
)
def test_a_wrong_number_in_prose_is_found_wherever_it_is_planted(known, sentence):
    for name, text in prose.texts():
        if name in ("README.md", "README.pt-BR.md", "docs/researcher.md", "04_the_race.ipynb, cell 4"):
            assert prose.unfounded(f"{text}\n\n{sentence}\n", known), name


@pytest.mark.parametrize(
    "file", [REPOSITORY / "README.md", BENCHMARKS / "README.md", REPOSITORY / "docs" / "researcher.md"]
)
def test_a_wrong_number_in_rendered_findings_is_found(file):
    text = file.read_text()
    start = text.index("<!-- findings: ")
    place = next(k for k in range(text.index("0.", start), len(text)) if text[k].isdigit()) + 2
    wrong = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    assert findings.filled(text) == text
    assert findings.filled(wrong) != wrong


def test_code_links_and_formulas_are_no_prose():
    text = "`0.123` [a](b-0.123) $0.123$\n```\n0.123\n```\n<!-- findings: race -->\n0.1\n<!-- end -->"
    assert prose.unfounded(text, set()) == []
    assert prose.unfounded("0.123", set()) == ["0.123"]
