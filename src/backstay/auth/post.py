"""The messages that accounts send, and their texts."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from ..errors import Problem
from ..services.mail import Mail, Mailer
from .later import Later

#: By kind: the subject, and the text around what the receiver has to do.
_TEXTS = {
    "verify": ("Confirm your e-mail address", "Confirm that this address is yours:"),
    "email": ("Confirm your new e-mail address", "Confirm that your account shall have this address:"),
    "login": ("Sign in", "Sign in with this:"),
    "login_code": ("Your code to sign in", "Type this in where you asked for it, and tell it nobody:"),
    "reset": ("Reset your password", "Choose a new password:"),
}
_NOTICES = {
    "taken": (
        "You have an account already",
        "Somebody, perhaps you, wanted to make an account with this address. There is one: sign in, or reset its "
        "password. If it was not you, there is nothing to do.",
    ),
    "password_changed": (
        "Your password was changed",
        "The password of your account was changed, and other devices were signed out. If it was not you, reset it.",
    ),
    "email_changed": (
        "Your e-mail address was changed",
        "Your account has another e-mail address now, and this one is no longer good to sign in.",
    ),
}
_IGNORE = "If it was not you who asked for this, there is nothing to do."


@dataclass(frozen=True, slots=True)
class Post:
    """Writes messages and hands them to the program's mailer.

    Attributes:
        pages: by kind, the program's own page that a code is brought to, such as `https://shop.example/verify`.
    """

    name: str
    mailer: Mailer | None
    later: Later
    pages: dict[str, str]

    def require(self) -> None:
        """See that mail can be sent.

        Raises:
            Problem: `MAIL_UNAVAILABLE`.
        """
        if self.mailer is None:
            raise Problem("MAIL_UNAVAILABLE")

    def send_code(self, kind: str, to: str, token: str) -> None:
        """Send a code."""
        subject, text = _TEXTS[kind]
        page = self.pages.get(kind, "")
        what = f"{page}{'&' if '?' in page else '?'}token={quote(token)}" if page else f"Your code: {token}"
        self._send(Mail(to, f"{self.name}: {subject}", f"{text}\n\n{what}\n\n{_IGNORE}\n", kind, token))

    def send_notice(self, kind: str, to: str | None) -> None:
        """Tell somebody what happened, if they have an address and there is a mailer."""
        subject, text = _NOTICES[kind]
        if to is not None:
            self._send(Mail(to, f"{self.name}: {subject}", f"{text}\n", kind))

    def _send(self, mail: Mail) -> None:
        if self.mailer is not None:
            self.later.start(_handed(self.mailer, mail))


async def _handed(mailer: Mailer, mail: Mail) -> None:
    await mailer(mail)
