"""Runs `backstay` in this process, as its command line does."""

import io
import sys
from dataclasses import dataclass

import pytest

from backstay.cli import main


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


def ran(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str = ""
) -> Ran:
    """A command; `typed` is what is piped in. The file `app.py` is imported anew each time."""
    monkeypatch.setattr(sys, "argv", ["backstay", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    sys.modules.pop("app", None)
    printed = capsys.readouterr()
    return Ran(code, printed.out, printed.err)
