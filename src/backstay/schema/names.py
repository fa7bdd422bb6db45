"""Names that people sign in with, in one form each: what looks the same to them is the same to the database."""

from __future__ import annotations

import re
import unicodedata

import idna

from .types import Normalized

EMAIL_CHARS_MAX = 254
USERNAME_CHARS_MAX = 64
#: RFC 5321's dot-atom, with letters of every script (RFC 6531); a quoted local part is refused.
_LOCAL = re.compile(r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]{1,64}\Z")


class EmailText(Normalized):
    """An e-mail address: NFC, case-folded, its domain in ASCII (RFC 5891), so that one mailbox is one account.

    Example:
        >>> EmailText().normal("Ada@Bücher.Example")
        'ada@xn--bcher-kva.example'
    """

    cache_ok = True

    def normal(self, value: str) -> str:
        """See the class.

        Raises:
            ValueError: it is no address.
        """
        local, at, domain = unicodedata.normalize("NFC", value.strip()).casefold().rpartition("@")
        if not at or not _LOCAL.match(local) or local[0] == "." or local[-1] == "." or ".." in local:
            raise ValueError("is not an e-mail address")
        try:
            ascii_domain = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise ValueError("is not an e-mail address: the domain cannot be one") from None
        address = f"{unicodedata.normalize('NFC', local)}@{ascii_domain}"
        if "." not in ascii_domain.rstrip(".") or ascii_domain.endswith(".") or len(address) > EMAIL_CHARS_MAX:
            raise ValueError("is not an e-mail address")
        return address


class UsernameText(Normalized):
    """A user name: NFKC and case-folded (RFC 8265's UsernameCaseMapped, in short), without spaces and `@`.

    Example:
        >>> UsernameText().normal("Ａda")
        'ada'
    """

    cache_ok = True

    def normal(self, value: str) -> str:
        """See the class.

        Raises:
            ValueError: it is empty, too long, or has characters that cannot be seen or mean something else.
        """
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", value.strip()).casefold())
        if not name or len(name) > USERNAME_CHARS_MAX:
            raise ValueError(f"must have 1 to {USERNAME_CHARS_MAX} characters")
        if "@" in name or any(unicodedata.category(char)[0] in "CZ" for char in name):
            raise ValueError("must have no spaces, control characters or @")
        return name
