"""The text of tests that hold an app to its matrix: each cell, and what the API answers to each standing."""

from __future__ import annotations

from collections.abc import Collection

from .matrix import ACTIONS, Matrix

_TEXT = '''"""Who may do what. `backstay rules tests` wrote this file: run it again after a change that you mean."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.testing.rules import Probe

TARGET = {target}
#: Standing, resource, rule, what it says.
CELLS = [
{cells}]
#: Standing, resource, action, the statuses that may answer it.
ANSWERS = [
{answers}]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    """The app, over an empty database of its own."""
    with Probe(TARGET, tmp_path_factory.mktemp("rules")) as opened:
        yield opened


@pytest.mark.parametrize(("standing", "resource", "rule", "says"), CELLS)
def test_rule_says_what_it_said(probe: Probe, standing: str, resource: str, rule: str, says: str) -> None:
    """Whoever changes a rule sees here whose access changes."""
    assert probe.cell(standing, resource, rule) == says


@pytest.mark.parametrize(("standing", "resource", "action", "statuses"), ANSWERS)
def test_answer_is_of_its_class(
    probe: Probe, standing: str, resource: str, action: str, statuses: tuple[int, ...]
) -> None:
    """The API refuses who is refused, and nobody else."""
    assert probe.status(standing, resource, action) in statuses


def test_nothing_else_is_there(probe: Probe) -> None:
    """A resource, a standing or a rule that was added is not tested yet."""
    assert probe.cells() == {{cell[:3] for cell in CELLS}}
'''
#: What may answer an action that is admitted: on an empty database a row is missing, and a reference leads nowhere.
_ADMITTED = {"read": (200,), "create": (201, 400, 409)} | dict.fromkeys(
    ("update", "delete", "restore", "history"), (404,)
)
#: And one that is admitted for some rows.
_SOME = {"create": (201, 400, 403, 409)}
#: What nobody may do has no route.
_NOT_THERE = (404, 405)


def statuses_of(standing: str, action: str, cell: str) -> tuple[int, ...]:
    """The statuses that may answer an action.

    Example:
        >>> statuses_of("anonymous", "delete", "no"), statuses_of("signed in", "read", "where owner_id = me.id")
        ((401, 404, 405), (200,))
    """
    if cell in ("no", "-"):
        return (401 if standing == "anonymous" else 403, *_NOT_THERE)
    return _ADMITTED[action] if cell == "yes" else _SOME.get(action, _ADMITTED[action])


def tests_of(matrix: Matrix, target: str, own: Collection[tuple[str, str]]) -> str:
    """The text of a test module.

    Args:
        own: (resource, action) of those that the program answers with code of its own.
        target: the expression that names the app: a string, or a path from `__file__`.
    """
    cells: list[tuple[str, str, str, str]] = []
    answers: list[tuple[str, str, str, tuple[int, ...]]] = []
    for name, resource in matrix.resources.items():
        for row, found in resource.rules.items():
            cells += [(standing, name, row, cell) for standing, cell in found.items()]
            if row in ACTIONS and (name, row) not in own:
                answers += [(standing, name, row, statuses_of(standing, row, c)) for standing, c in found.items()]
    return _TEXT.format(target=target, cells=_rows(cells), answers=_rows(answers))


def _rows(rows: list[tuple[str, str, str, str]] | list[tuple[str, str, str, tuple[int, ...]]]) -> str:
    return "".join(f"    {row!r},\n" for row in rows)
