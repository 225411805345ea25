"""Rendered sentences in other languages: no phrase is missing, numbers are written as there."""

import re

import pytest
from planted_studies import planted

from r21d_lib.models.ablations import ABLATIONS
from r21d_lib.suite import findings, languages, ledger, phrases

# Names that are the same everywhere.
NAMES = {"Debian", "bookworm", "trixie", "torch", "constraints", "txt", "commit"}
NAMES |= {"Intel", "Xeon", "Processor"}
USED = sorted(
    {
        (block, language)
        for file, language in findings.FILES.items()
        if language
        for block in re.findall(r"<!-- findings: (\w+) -->", file.read_text())
    }
)


@pytest.mark.parametrize(("block", "language"), USED)
def test_every_rendered_word_of_the_pages_has_a_phrase(block, language):
    text = findings.BLOCKS[block]()
    if block == "images":  # the packages of an image go by their names
        text = re.sub(r"GB \| .*? \|", "GB |", text)
    assert phrases.words_left(text, language) <= NAMES


@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_what_the_sentences_would_say_of_other_numbers_has_phrases_too(language):
    networks = dict.fromkeys(("r2plus1d", "r3d", *ABLATIONS), 0.5)
    for other in (0.1, 0.5, 0.9):
        study = planted(networks | {"r2plus1d": other})
        text = findings.of_ablations(study) + findings.of_pair(study, "r2plus1d", "r3d")
        assert phrases.words_left(text, language) == set()


@pytest.mark.parametrize("start", ledger.REAL_STARTS.values())
@pytest.mark.parametrize("language", languages.LANGUAGES)
def test_every_start_that_may_be_run_has_a_phrase(start, language):
    assert phrases.words_left(start, language) == set()


def test_numbers_and_sentences_are_written_as_in_portuguese():
    text = "Trained on 8, then on 32: +1,234.5 points [-0.950, +0.983] (`0.5`, torch==2.13.0+cpu)."
    assert phrases.say(text, "pt-BR") == (
        "Treinada com 8, depois com 32: +1.234,5 pontos [-0,950; +0,983] (`0.5`, torch==2.13.0+cpu)."
    )
    assert phrases.say(text, "") == text
    assert phrases.words_left("Points of nowhere", "pt-BR") == {"nowhere"}
