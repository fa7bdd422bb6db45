"""The sample databases of ../shared/data in a throwaway PostgreSQL; nothing of them is copied."""

import subprocess
import tempfile
from pathlib import Path

import pytest

from backstay.testing.postgres import binary
from support.postgres import template_database

DATA = Path(__file__).parents[3] / "shared" / "data"
SAKILA = (DATA / "sakila_pg_schema.sql", DATA / "sakila_pg_data.sql")
CHINOOK = DATA / "chinook_pg.sql"
CHINOOK_SQLITE = DATA / "chinook.sqlite"

needs_sakila = pytest.mark.skipif(not SAKILA[0].is_file(), reason=f"the sample database is not at {SAKILA[0]}")
needs_chinook = pytest.mark.skipif(not CHINOOK.is_file(), reason=f"the sample database is not at {CHINOOK}")


def psql(url: str, *scripts: Path) -> None:
    """Run scripts; the first error ends it."""
    command = [
        str(binary("psql")),
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        *(p for s in scripts for p in ("-f", str(s))),
    ]
    subprocess.run([*command, url], check=True, capture_output=True)


def sakila() -> str:
    """The URL of a database with Sakila, to read or to copy."""
    return template_database("sakila", lambda url: psql(url, *SAKILA))


def chinook() -> str:
    """The URL of a database with Chinook, to read or to copy."""

    def fill(url: str) -> None:
        # The script makes a database of its own first; its tables shall be in this one.
        text = CHINOOK.read_text(encoding="utf-8")
        with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as script:
            script.write(text[text.index("CREATE TABLE") :])
            script.flush()
            psql(url, Path(script.name))

    return template_database("chinook", fill)
