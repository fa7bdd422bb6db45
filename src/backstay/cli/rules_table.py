"""The matrix as a table of text: a column for each standing; conditions are numbered, and written below."""

from __future__ import annotations

from collections.abc import Iterator

from ..check.matrix import WHERE, Matrix, ResourceRules


def table_of(matrix: Matrix) -> str:
    """All resources."""
    return "\n".join(
        line for name, rules in matrix.resources.items() for line in _lines(name, rules, matrix.standings)
    )


def _lines(name: str, rules: ResourceRules, standings: tuple[str, ...]) -> Iterator[str]:
    conditions: dict[str, int] = {}
    rows = [[name, *standings]]
    for action, cells in rules.rules.items():
        rows.append([f"  {action}", *(_short(cells[standing], conditions) for standing in standings)])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    for condition, number in conditions.items():
        yield f"  [{number}] {condition}"
    if rules.tenant is not None:
        yield f"  Only rows of the caller's tenant ({rules.tenant})."
    if rules.deleted is not None:
        yield f"  Deleted rows stay ({rules.deleted}), for who may restore them."
    for column, value in rules.stamps.items():
        yield f"  The server sets {column} = {value}."
    yield ""


def _short(cell: str, conditions: dict[str, int]) -> str:
    if not cell.startswith(WHERE):
        return cell
    number = conditions.setdefault(cell.removeprefix(WHERE), len(conditions) + 1)
    return f"{WHERE}[{number}]"
