"""Who sees what after a change of rules, and did not before: from two outputs of `backstay rules --json`.

Whatever may admit more than before is a widening. A condition that changed is one too, unless it is the old one with
more terms: nobody can tell from the text of two conditions which admits more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .matrix import NEVER, NO, WHERE, YES

_REFUSED = (NO, NEVER)


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell that changed, or one resource or field that is there or is not."""

    where: str
    before: str
    after: str
    widens: bool

    def __str__(self) -> str:
        return f"{'WIDER' if self.widens else 'narrower':9}{self.where}: {self.before} → {self.after}"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[Difference]:
    """What changed, the widenings first.

    Raises:
        KeyError, TypeError, AttributeError: one of them is no matrix.
    """
    found = list(_differences(old["resources"], new["resources"]))
    return sorted(found, key=lambda difference: not difference.widens)


def _differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Difference]:
    for name in old.keys() - new.keys():
        yield Difference(name, "a resource", "not there", widens=False)
    for name, after in new.items():
        before = old.get(name)
        if before is None:
            yield Difference(name, "not there", "a resource", widens=_admits(after))
            continue
        yield from _of_fields(name, before["fields"], after["fields"])
        for scope in ("tenant", "deleted"):
            if before[scope] != after[scope]:
                texts = before[scope] or "none", after[scope] or "none"
                yield Difference(f"{name}, {scope}", *texts, widens=after[scope] is None or before[scope] is not None)
        yield from _of_stamps(name, before["stamps"], after["stamps"])
        yield from _of_cells(name, before["rules"], after["rules"])


def _admits(resource: dict[str, Any]) -> bool:
    return any(cell not in _REFUSED for cells in resource["rules"].values() for cell in cells.values())


def _of_fields(name: str, before: list[str], after: list[str]) -> Iterator[Difference]:
    for field in sorted(set(before) ^ set(after)):
        shown = field in after
        texts = ("not there", "a field") if shown else ("a field", "not there")
        yield Difference(f"{name}.{field}", *texts, widens=shown)


def _of_stamps(name: str, before: dict[str, str], after: dict[str, str]) -> Iterator[Difference]:
    for field in sorted(before.keys() | after.keys()):
        texts = before.get(field, "the caller's"), after.get(field, "the caller's")
        if texts[0] != texts[1]:
            yield Difference(f"{name}.{field}, set by", *texts, widens=field in before)


def _of_cells(name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    """A rule that one of them does not have is `-` for an action, and no limit for a check or a field."""
    for row in sorted(before.keys() | after.keys()):
        absent = NEVER if " " not in row and row != "check" else YES
        old, new = before.get(row, {}), after.get(row, {})
        for standing in dict.fromkeys([*old, *new]):
            # A role that was not named had what everybody has who is signed in.
            texts = _cell(old, standing, absent), _cell(new, standing, absent)
            if texts[0] != texts[1]:
                where = f"{name}, {row}, {standing}"
                yield Difference(where, *texts, widens=not narrows(*texts))


def _cell(cells: dict[str, str], standing: str, absent: str) -> str:
    return cells.get(standing, cells.get("signed in", absent))


def narrows(before: str, after: str) -> bool:
    """Whether it is certain that a cell admits no more than before.

    Example:
        >>> narrows("yes", "where a = 1"), narrows("where a = 1", "where a = 1 AND b = 2")
        (True, True)
        >>> narrows("where a = 1", "where a = 2"), narrows("where a OR b", "where a")
        (False, True)
    """
    if before in (after, YES) or after in _REFUSED:
        return True
    if before in _REFUSED or after == YES:
        return False
    return _implies(after.removeprefix(WHERE), before.removeprefix(WHERE))


def _implies(new: str, old: str) -> bool:
    """Whether one condition is the other with terms added, or with alternatives taken away."""
    return all(_has_all(_parts(case, " AND "), old) for case in _parts(new, " OR "))


def _has_all(known: set[str], old: str) -> bool:
    """Whether what holds of a case makes each term of a condition hold."""
    alternatives = _parts(old, " OR ")
    if len(alternatives) > 1:
        return any(_has_all(known, alternative) for alternative in alternatives)
    demanded = _parts(old, " AND ")
    if demanded == {old}:
        return old in known
    return all(_has_all(known, term) for term in demanded)


def _parts(text: str, joint: str) -> set[str]:
    """A condition split where it is neither inside of brackets nor of quotes."""
    parts: list[str] = []
    depth, quoted, start = 0, False, 0
    for place, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif not quoted:
            depth += (char == "(") - (char == ")")
            if not depth and text.startswith(joint, place):
                parts.append(text[start:place])
                start = place + len(joint)
    return {_bare(part) for part in (*parts, text[start:])}


def _bare(text: str) -> str:
    """A condition without the brackets around all of it."""
    if not text.startswith("(") or not text.endswith(")"):
        return text
    depth = 0
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if not depth and place < len(text) - 1:
            return text
    return text[1:-1]
