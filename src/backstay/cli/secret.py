"""The secret of development: made once, kept beside the app, read by `serve --dev` and by `backstay token`."""

from __future__ import annotations

import secrets
from pathlib import Path

from ..errors import OperatorError

FILE = Path(".backstay/secret")


def kept_secret() -> str:
    """The secret that `serve --dev` made in this folder; empty when it did not."""
    try:
        return FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def make_secret() -> str:
    """Make one and keep it where git does not look.

    Raises:
        OperatorError: the folder cannot be written.
    """
    secret = secrets.token_urlsafe(48)
    try:
        FILE.parent.mkdir(exist_ok=True)
        (FILE.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        FILE.touch(mode=0o600)
        FILE.write_text(secret + "\n", encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"Cannot write {FILE} ({error.strerror}): set BACKSTAY_SECRET.") from None
    return secret
