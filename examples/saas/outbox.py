"""Where this example's mail goes: a program of yours hands it to a server, this one writes it down."""

from asyncio import to_thread
from pathlib import Path

from backstay import Mail

OUTBOX = Path("outbox.txt")


async def send(mail: Mail) -> None:
    """Add a message to the file."""
    await to_thread(_write, f"To: {mail.to}\nSubject: {mail.subject}\n\n{mail.text}\n")


def _write(text: str) -> None:
    with OUTBOX.open("a", encoding="utf-8") as outbox:
        outbox.write(text)
