"""Which passwords are too weak, after NIST SP 800-63B §3.1.1: short, common, repetitive, or of who they belong to.

`common_passwords.txt` has the 4,000 most common passwords of eight characters or more, in lower case. It is the head
of the list that Django ships (BSD-3-Clause), which Royce Williams made from the passwords of known breaches.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from pathlib import Path

from ..errors import FieldError, ValidationError

PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 256
#: So much of a password must be nobody's name.
_OWN_CHARS_MIN = 5
_KINDS_OF_CHARS_MIN = 4
_LIST = Path(__file__).parent / "common_passwords.txt"

#: Whether a password is known from a breach; for programs that ask a service by k-anonymity.
Breached = Callable[[str], Awaitable[bool]]


def normal_password(password: str) -> str:
    """One form for what looks the same (NIST SP 800-63B §3.1.1.2: NFKC)."""
    return unicodedata.normalize("NFKC", password)


async def check_password(
    password: str, field: str = "password", *, names: Iterable[str | None] = (), breached: Breached | None = None
) -> None:
    """Refuse a weak password.

    Args:
        field: what the body calls it.
        names: the address and the name of whose it is.
        breached: asked last, if at all.

    Raises:
        ValidationError: with what is wrong with it.
    """
    fault = weakness(password, names)
    if not fault and breached is not None and await breached(password):
        fault = ("breached", "is known from a data breach: choose another.")
    if fault:
        raise ValidationError([FieldError(field, *fault)], hint="A few random words make a good password.")


def weakness(password: str, names: Iterable[str | None] = ()) -> tuple[str, str] | None:
    """What is wrong with a password, as a code and a message; `None` when nothing is.

    Example:
        >>> weakness("password1")[0], weakness("lovelace1", ["lovelace@example.org"])[0], weakness("tr0ub4dor&3")
        ('too_common', 'too_personal', None)
    """
    folded = normal_password(password).casefold()
    if len(folded) < PASSWORD_CHARS_MIN:
        return "too_short", f"must have at least {PASSWORD_CHARS_MIN} characters."
    if len(folded) > PASSWORD_CHARS_MAX:
        return "too_long", f"must have at most {PASSWORD_CHARS_MAX} characters."
    if folded.strip() in common_passwords():
        return "too_common", "is one of the most common passwords."
    if len(set(folded)) < _KINDS_OF_CHARS_MIN:
        return "too_simple", "repeats the same few characters."
    for name in names:
        for word in {name or "", (name or "").partition("@")[0]}:
            if len(word) >= 3 and len(folded.replace(word.casefold(), "")) < _OWN_CHARS_MIN:
                return "too_personal", "is made of the e-mail address or the user name."
    return None


@cache
def common_passwords() -> frozenset[str]:
    """The list; read when the first password is checked."""
    return frozenset(_LIST.read_text(encoding="utf-8").splitlines())
