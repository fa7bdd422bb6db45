"""What `import backstay` may cost: little above its foundations, and no library of a server or a tool."""

import compileall
import os
import subprocess
import sys
from pathlib import Path

import pytest

import backstay

SOURCE = Path(__file__).parents[1] / "src"
FOUNDATIONS = "import sqlalchemy.orm, pydantic"
RATIO_MAX = 1.4
RUNS = 7

# Needed by a running server or a command, not by a module that declares models.
LATE = {
    "alembic",
    "fastapi",
    "granian",
    "joserfc",
    "prometheus_client",
    "rich",
    "starlette",
    "structlog",
    "typer",
    "uvloop",
    "watchfiles",
}

DECLARING = ("Model", "SoftDelete", "TenantScoped", "has_role", "me", "public", "signed_in")


def run_python(code: str) -> str:
    """Standard output of the code in a fresh interpreter that sees this source tree."""
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def processor_seconds(statement: str) -> float:
    """Processor time of one import statement; unlike the clock, it does not count waiting for a core."""
    return float(
        run_python(f"from time import process_time as t; s = t(); {statement}; print(t() - s)"),
    )


def declaring() -> str:
    """The import with a use of each name that a module of models needs: a lazy package pays here, not before."""
    names: list[str] = [name for name in DECLARING if name in getattr(backstay, "__all__", ())]
    return "; ".join(["import backstay", *(f"backstay.{name}" for name in names)])


def roots_loaded_by(statement: str) -> set[str]:
    """The top-level names of all modules that the statement loads."""
    return set(run_python(f"import sys\n{statement}\nprint(*{{n.split('.')[0] for n in sys.modules}})").split())


def test_import_loads_nothing_late() -> None:
    """The package itself does not load what only a server, a command or a token needs."""
    assert LATE & roots_loaded_by("import backstay") == set()


def test_declaring_loads_nothing_late() -> None:
    """Nor do the names that a module of models uses, if the package resolves them lazily."""
    assert LATE & roots_loaded_by(declaring()) == set()


@pytest.mark.alone
def test_import_costs_little_above_its_foundations() -> None:
    """The least of several runs, taken in turns, stays within the ratio; a slow machine slows both sides."""
    compileall.compile_dir(SOURCE, quiet=1)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(RUNS):
        theirs.append(processor_seconds(FOUNDATIONS))
        ours.append(processor_seconds(declaring()))
    assert min(ours) <= RATIO_MAX * min(theirs)
