"""Rendered sentences in other languages: phrase by phrase, from phrases_<language>.toml here.

Only the fixed phrases are in the table; numbers pass through, written as the language writes them. A
test names each English word that is left, so that a changed sentence is noticed.
"""

import functools
import re
import tomllib
from pathlib import Path

# Code, names with a version, and numbers of several parts stay.
_KEPT = r"`[^`\n]*`|\w+==\S+"
_NUMBER = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?![\w.]*\.\d|\w)")
_BETWEEN = re.compile(r"(\[[+-]?\d[\d,]*), ([+-]?\d[\d,]*\])")


def say(text: str, language: str) -> str:
    """Return a rendered text in a language with a decimal comma; "" leaves it English."""
    if not language:
        return text
    kept, pattern = re.compile(_KEPT), _pattern(language)
    parts = re.split(f"({_KEPT})", text)
    for place, part in enumerate(parts):
        if not kept.fullmatch(part):
            said = pattern.sub(lambda found: _phrase(found[0], language), part)
            parts[place] = _BETWEEN.sub(r"\1; \2", _NUMBER.sub(_with_comma, said))
    return "".join(parts)


def words_left(text: str, language: str) -> set[str]:
    """Return the words of an English text for which the language's table has no phrase."""
    left = re.sub(_KEPT, " ", _pattern(language).sub(" ", text))
    return set(re.findall(r"(?<![\w(+@-])[A-Za-z][a-z'-]+(?![\w@])", left))


@functools.cache
def _table(language: str) -> dict[str, str]:
    file = Path(__file__).parent / f"phrases_{language}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@functools.cache
def _pattern(language: str) -> re.Pattern[str]:
    """Return what finds a phrase of the table, the longer of two before the shorter."""
    phrases = sorted(_table(language), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, phrases))})(?!\w)", re.IGNORECASE)


def _phrase(english: str, language: str) -> str:
    table = _table(language)
    if english in table:
        return table[english]
    said = table[english[:1].lower() + english[1:]]  # at the beginning of a sentence
    return said[:1].upper() + said[1:]


def _with_comma(found: re.Match[str]) -> str:
    whole, rest = found[1].replace(",", "."), (found[2] or "").replace(".", ",")
    return whole + rest
