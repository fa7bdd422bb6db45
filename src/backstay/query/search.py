"""The text of `q=` into words to look for. Whatever a person types is a search, or is refused with a reason.

space invaders      both words, anywhere in the searched fields
"space invaders"    side by side, in one field
-pong               rows without it
inva*               words that begin so
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from .values import text

WORDS_MAX = 32
WORD_CHARS_MAX = 255
#: A quote that is never closed ends with the text.
_TERM = re.compile(r'(-?)(?:"([^"]*+)(?:"(\*?)|\Z)|([^\s"]++))')
_WORD_KINDS = frozenset("LMN")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words side by side; with `prefix` the last one may go on."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Searched:
    """What a row must have, all of it, and what it must not have."""

    wanted: tuple[Phrase, ...]
    unwanted: tuple[Phrase, ...] = ()


def parse_search(raw: str) -> Searched:
    """The words of a search.

    Raises:
        ValueError: with a sentence for the caller.

    Example:
        >>> parse_search('"space invaders" -pong gal*').wanted
        (Phrase(words=('space', 'invaders'), prefix=False), Phrase(words=('gal',), prefix=True))
    """
    wanted: list[Phrase] = []
    unwanted: list[Phrase] = []
    for minus, quoted, star, bare in _TERM.findall(text(raw)):
        words = words_of(quoted or bare)
        if words:
            phrase = Phrase(tuple(words), star == "*" or bare.endswith("*"))
            (unwanted if minus else wanted).append(phrase)
    words = [word for phrase in (*wanted, *unwanted) for word in phrase.words]
    if not words:
        raise ValueError("has no word to look for")
    if not wanted:
        raise ValueError("only leaves words out: add one to look for")
    if len(words) > WORDS_MAX:
        raise ValueError(f"at most {WORDS_MAX} words")
    if any(len(word) > WORD_CHARS_MAX for word in words):
        raise ValueError(f"a word has at most {WORD_CHARS_MAX} characters")
    return Searched(tuple(wanted), tuple(unwanted))


def words_of(given: str) -> list[str]:
    """Letters, digits and the marks on them; all else only parts them.

    Example:
        >>> words_of("e-mail: été 2026!")
        ['e', 'mail', 'été', '2026']
    """
    return "".join(char if unicodedata.category(char)[0] in _WORD_KINDS else " " for char in given).split()
