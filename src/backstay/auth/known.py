"""Credentials that were looked up: remembered for a while, forgotten by whose they are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ..context import Principal
from .revocations import ALL

KNOWN_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """A credential that is good.

    Attributes:
        expires: `time.time()` value from which it is not.
        subjects: what may be revoked to end it, such as `session:7` and `user:3`.
        session: the session's id, which binds the CSRF token of its cookies.
    """

    principal: Principal
    expires: float
    subjects: tuple[str, ...] = ()
    session: int = 0
    #: `time.monotonic()` value up to which it may be trusted without looking.
    until: float = field(default=0.0, compare=False)


class Known:
    """Up to `KNOWN_MAX` of them; the oldest goes first."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._found: dict[bytes, Found] = {}
        self._of: dict[str, set[bytes]] = {}
        self.get = self._found.get

    def keep(self, credential: bytes, found: Found) -> None:
        """Remember one, until it expires or gets too old."""
        while len(self._found) >= KNOWN_MAX:
            self._drop(next(iter(self._found)))
        self._drop(credential)
        until = time.monotonic() + min(self._keep_s, found.expires - time.time())
        self._found[credential] = Found(found.principal, found.expires, found.subjects, found.session, until)
        for subject in found.subjects:
            self._of.setdefault(subject, set()).add(credential)

    def forget(self, kind: str, subject: str) -> None:
        """Forget what is a subject's."""
        if kind == ALL or kind == "keys":
            self._found.clear()
            self._of.clear()
            return
        for credential in self._of.pop(f"{kind}:{subject}", set()):
            self._drop(credential)

    def _drop(self, credential: bytes) -> None:
        found = self._found.pop(credential, None)
        for subject in found.subjects if found is not None else ():
            holders = self._of.get(subject)
            if holders is not None:
                holders.discard(credential)
                if not holders:
                    del self._of[subject]

    def __len__(self) -> int:
        return len(self._found)
