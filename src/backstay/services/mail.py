"""Mail as the product hands it over: one function of the program's own sends it, whatever with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mail:
    """One message.

    Attributes:
        to: the address.
        subject, text: plain text, ready to send.
        kind: what it is about, such as `verify` or `reset`, for who writes texts of their own.
        token: the one-time code in it, if there is one. It is a secret of the receiver.
    """

    to: str
    subject: str
    text: str
    kind: str
    token: str = ""


#: Sends a message; what it raises is logged, and the message is lost.
Mailer = Callable[[Mail], Awaitable[None]]
