"""The command line: `backstay new|serve|db|rules|audit|openapi|routes|token`, thin layers over the library."""

from __future__ import annotations

import sys

from ..errors import OperatorError


def main() -> None:
    """Run the command line; an operator's mistake is one line on stderr and exit code 2."""
    from .commands import cli

    try:
        cli()
    except OperatorError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
