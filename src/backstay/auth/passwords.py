"""Passwords: hashed with Argon2id in threads, few at a time; bcrypt of twelve rounds or more is read and upgraded."""

from __future__ import annotations

import asyncio
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import OperatorError
from .weak import normal_password

BCRYPT_ROUNDS_MIN = 12
_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$")
#: All of a password that bcrypt looks at.
_BCRYPT_BYTES = 72
_HINT = "pip install 'backstay[accounts]'"


@dataclass(frozen=True, slots=True)
class Hashing:
    """What a hash costs; Argon2id's parameters (RFC 9106), by default those of its second recommended option.

    Attributes:
        passes: times over the memory.
        memory_kib: memory of one hash.
        lanes: threads of one hash.
        at_once: hashes that run at the same time in a process; more of them wait.
    """

    passes: int = 3
    memory_kib: int = 65_536
    lanes: int = 4
    at_once: int = max(1, (os.cpu_count() or 2) // 2)


class Passwords:
    """Hashes and verifies.

    Example:
        >>> passwords = Passwords(Hashing(passes=1, memory_kib=64, lanes=1))
        >>> asyncio.run(passwords.verify("tr0ub4dor&3", asyncio.run(passwords.hash("tr0ub4dor&3"))))
        (True, None)
    """

    def __init__(self, hashing: Hashing) -> None:
        self._hashing = hashing
        self._threads = ThreadPoolExecutor(hashing.at_once, thread_name_prefix="backstay-password")

    @cached_property
    def _library(self) -> Any:
        try:
            from pwdlib import PasswordHash
            from pwdlib.hashers.argon2 import Argon2Hasher
            from pwdlib.hashers.bcrypt import BcryptHasher
        except ImportError:
            raise OperatorError(f"Accounts need pwdlib: {_HINT}.") from None
        hashing = self._hashing
        argon2 = Argon2Hasher(hashing.passes, hashing.memory_kib, hashing.lanes)
        return PasswordHash((argon2, BcryptHasher()))

    @cached_property
    def _dummy(self) -> str:
        """The hash of nobody's password: verifying it costs what verifying a real one does."""
        made: str = self._library.hash(os.urandom(16).hex())
        return made

    async def hash(self, password: str) -> str:
        """The hash to keep."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hash, password)

    async def verify(self, password: str, kept: str | None) -> tuple[bool, str | None]:
        """Whether it is the password; and the hash to keep instead, if the kept one is of an older kind.

        Without a kept hash it takes as long, and is false.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, password, kept)

    def _hash(self, password: str) -> str:
        made: str = self._library.hash(normal_password(password))
        return made

    def _verify(self, password: str, kept: str | None) -> tuple[bool, str | None]:
        if kept is None or not self._readable(kept):
            self._library.verify(normal_password(password), self._dummy)
            return False, None
        if kept.startswith("$2"):
            right = self._library.verify(normal_password(password).encode()[:_BCRYPT_BYTES], kept)
            return (True, self._hash(password)) if right else (False, None)
        return self._library.verify_and_update(normal_password(password), kept)

    def _readable(self, kept: str) -> bool:
        """Whether a hash is of a kind that is strong enough to be believed."""
        bcrypt = _BCRYPT.match(kept)
        if bcrypt is not None and int(bcrypt[1]) < BCRYPT_ROUNDS_MIN:
            return False
        return any(hasher.identify(kept) for hasher in self._library.hashers)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)
