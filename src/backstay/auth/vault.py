"""Secrets at rest: random tokens kept as their hash, and what must be read again encrypted under BACKSTAY_SECRET."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import Any

from ..errors import OperatorError

SECRET_BYTES_MIN = 32
TOKEN_BYTES = 32
_NONCE_BYTES = 12
_HINT = "pip install 'backstay[accounts]'"


def check_secret(secret: str) -> None:
    """See that a secret is long enough.

    Raises:
        OperatorError: it is not.
    """
    if len(secret.encode()) < SECRET_BYTES_MIN:
        raise OperatorError(f"BACKSTAY_SECRET is shorter than {SECRET_BYTES_MIN} bytes: choose a longer one.")


def random_token() -> str:
    """256 random bits for a URL, a header or a cookie."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hashed(token: str) -> str:
    """How a random token is kept. It needs no salt: nobody can guess 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


class Vault:
    """Encrypts under keys derived from the secret: AES-256-GCM (NIST SP 800-38D), keys by HKDF (RFC 5869).

    Each purpose has a key of its own, and a text is bound to what it belongs to, so that one row's cannot be put
    into another's.

    Raises:
        OperatorError: the secret is too short, or `cryptography` is not installed.
    """

    def __init__(self, secret: str) -> None:
        check_secret(secret)
        self._secret = secret.encode()
        self._keys: dict[str, bytes] = {}

    def key(self, purpose: str) -> bytes:
        """The 256-bit key of a purpose."""
        known = self._keys.get(purpose)
        if known is None:
            hkdf, hashes, _ = _cryptography()
            derive = hkdf(hashes.SHA256(), 32, salt=None, info=f"backstay {purpose}".encode())
            known = self._keys[purpose] = derive.derive(self._secret)
        return known

    def encrypt(self, purpose: str, owner: str, plain: bytes) -> bytes:
        """Encrypt; `owner` says whose it is."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + _cryptography()[2](self.key(purpose)).encrypt(nonce, plain, owner.encode())

    def decrypt(self, purpose: str, owner: str, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            ValueError: it was encrypted under another secret, for another owner, or changed.
        """
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            plain: bytes = _cryptography()[2](self.key(purpose)).decrypt(nonce, text, owner.encode())
        except Exception as error:  # the library's InvalidTag is no ValueError
            raise ValueError("cannot be decrypted with this BACKSTAY_SECRET") from error
        return plain

    def sign(self, purpose: str, text: str) -> str:
        """A keyed hash (HMAC-SHA-256) of a text."""
        return hmac.new(self.key(purpose), text.encode(), hashlib.sha256).hexdigest()


def _cryptography() -> tuple[Any, Any, Any]:
    try:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError:
        raise OperatorError(f"Accounts need cryptography: {_HINT}.") from None
    return HKDF, hashes, AESGCM
