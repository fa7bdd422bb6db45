"""Runs `backstay` in this process, as its command line does."""

import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from backstay.cli import main


@dataclass
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, parsed."""
        return json.loads(self.out)


def ran(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: Any = ""
) -> Ran:
    """A command; `typed` is piped in, or is standard input itself. The file `app.py` is imported anew each time."""
    monkeypatch.setattr(sys, "argv", ["backstay", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed) if isinstance(typed, str) else typed)
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    sys.modules.pop("app", None)
    printed = capsys.readouterr()
    return Ran(code, printed.out, printed.err)
