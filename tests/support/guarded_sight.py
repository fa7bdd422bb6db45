"""What a principal may know of a world, worked out directly.

Its `view` is everything that answers may depend on: the rows and fields that it may see, what it may do with those
rows, and which rows it may refer to; `past` is the same of what they were. Whatever can change while both stay as
they are, is a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from support.guarded import Change, Guarded, Hall, back_of, draw_changes, draw_row
from support.guarded_rules import Row, Truth, Who
from support.seed import STAMPS


def in_scope(model: Guarded, row: Row, who: Who, *, deleted: bool = False) -> bool:
    """Of its tenant, and deleted or not."""
    ours = not model.tenant or (who.tenant is not None and row["tenant_id"] == who.tenant)
    return ours and (not model.soft or (row["deleted_at"] is not None) is deleted)


def sees(hall: Hall, model: Guarded, row: Row, who: Who, *, deleted: bool = False) -> bool:
    """Whether it may read a row; of a deleted one, whether it may also restore it."""
    if not who.covers(model.name, "read") or not in_scope(model, row, who, deleted=deleted):
        return False
    restores = not deleted or model.rules["restore"].holds(row, model, hall, who) is True
    return restores and model.rules["read"].holds(row, model, hall, who) is True


def plain(who: Who) -> Who:
    """The same person without the limits of a credential, which may write rows that it may not read."""
    return Who(who.id, who.roles, who.permissions, who.tenant)


def looks_at(hall: Hall, model: Guarded, row: Row, who: Who) -> bool:
    """Whether it sees a row, deleted or not."""
    return sees(hall, model, row, who) or (model.soft and sees(hall, model, row, who, deleted=True))


def known(model: Guarded, who: Who) -> list[str]:
    """The fields that there are for it."""
    return [n for n in model.columns if n not in model.fields or model.fields[n][0].verdict(who) is not False]


def shown(hall: Hall, model: Guarded, row: Row, who: Who) -> Row:
    """A row as it may see it."""
    found: Row = {}
    for name in known(model, who):
        masked = name in model.fields and model.fields[name][0].holds(row, model, hall, who) is not True
        found[name] = None if masked else row[name]
    return found


def passable(hall: Hall, model: Guarded, way: str, who: Who) -> bool:
    """Whether a way can be gone: no field that it goes by is hidden."""
    if way in model.links:
        name, here, there = model.links[way]
        return {here, there} <= set(known(hall.models[name], who))
    if way in model.one:
        return f"{way}_id" in known(model, who)
    child = hall.models[model.many[way]]
    return any(way == back_of(child.name, c) for c in child.references if c in known(child, who))


def outcomes(hall: Hall, model: Guarded, row: Row, who: Who) -> dict[str, Truth]:
    """What it may do with a row."""
    truths = {action: model.rules[action].holds(row, model, hall, who) for action in ("update", "delete")}
    for name, (_, write) in model.fields.items():
        truths[f"set {name}"] = None if write is None else write.holds(row, model, hall, who)
    return truths


def view(hall: Hall, who: Who) -> dict[str, Any]:
    """All that answers to a principal may depend on."""
    found: dict[str, Any] = {}
    for model in hall.models.values():
        rows = {row["id"]: shown(hall, model, row, who) for row in model.rows if sees(hall, model, row, who)}
        found[model.name] = rows
        found[f"{model.name} deleted"] = {
            row["id"]: shown(hall, model, row, who) for row in model.rows if sees(hall, model, row, who, deleted=True)
        }
        mine = [row for row in model.rows if sees(hall, model, row, plain(who))]
        found[f"{model.name} outcomes"] = {row["id"]: outcomes(hall, model, row, who) for row in mine}
        if model.soft:
            gone = [row["id"] for row in model.rows if sees(hall, model, row, plain(who), deleted=True)]
            found[f"{model.name} restorable"] = gone
        looked = [row for row in model.rows if looks_at(hall, model, row, who)]
        found[f"{model.name} remembered"] = {row["id"] for row in looked if remembers(hall, model, row, who)}
        for column, name in model.references.items():
            there = hall.models[name]
            rule = model.refers.get(column, there.rules["read"])
            found[f"{model.name}.{column} refers"] = {
                row["id"]
                for row in there.rows
                if in_scope(there, row, who) and rule.holds(row, there, hall, who) is True
            }
    return found


def remembers(hall: Hall, model: Guarded, row: Row, who: Who) -> bool:
    """Whether it may know what a row was like before."""
    return model.rules["history"].holds(row, model, hall, who) is True


def history(hall: Hall, model: Guarded, key: int, who: Who) -> list[tuple[Change, Row | None, Row | None]] | None:
    """The changes of a row that may be seen, the newest first, with what is shown of both sides.

    Nothing where there is no such row, or none whose history may be seen.
    """
    changes = [change for change in hall.log if (change.table, change.key) == (model.name, key)]
    row = hall.row(model, key)
    last = changes[-1].before if row is None and changes else row
    if last is None or not looks_at(hall, model, last, who) or not remembers(hall, model, last, who):
        return None

    def side(image: Row | None) -> Row | None:
        return None if image is None or not looks_at(hall, model, image, who) else shown(hall, model, image, who)

    sides = [(change, side(change.before), side(change.after)) for change in reversed(changes)]
    return [(change, before, after) for change, before, after in sides if before is not None or after is not None]


def past(hall: Hall, who: Who) -> dict[str, Any]:
    """What it may know of the past: the histories of rows, and rows as they were at the moments, by today's rules."""
    found: dict[str, Any] = {}
    for name, key in {(change.table, change.key) for change in hall.log}:
        listed = history(hall, hall.models[name], key, who)
        sides = None if listed is None else [(change.operation, before, after) for change, before, after in listed]
        found[f"{name}/{key} history"] = sides
    for moment in hall.moments:
        for model in hall.models.values():
            then = {row["id"]: row for row in model.rows}
            for change in reversed(hall.log[moment:]):
                if change.table == model.name:
                    then.pop(change.key, None)
                    then |= {} if change.before is None else {change.key: change.before}
            seen = [
                row for row in then.values() if looks_at(hall, model, row, who) and remembers(hall, model, row, who)
            ]
            found[f"{model.name} at {moment}"] = {row["id"]: shown(hall, model, row, who) for row in seen}
    return found


def visible(hall: Hall, who: Who) -> tuple[Any, Any]:
    """All that answers of now and of the past may depend on."""
    return view(hall, who), past(hall, who)


def disturb(draw: Any, hall: Hall, who: Who, attempts: int) -> tuple[Hall, int]:
    """Another world with the same view, and how many changes made it: cells, rows that come and rows that go."""
    other = hall.copy()
    wanted, changes = visible(hall, who), 0

    def one_of(choices: Sequence[Any]) -> Any:
        return draw(st.sampled_from(choices))

    for _ in range(attempts):
        model = other.models[draw(st.sampled_from(sorted(other.models)))]
        before = model.rows, other.log
        _disturb(one_of, other, model)
        if (model.rows, other.log) == before:
            continue
        if _whole(other) and visible(other, who) == wanted:
            changes += 1
        else:
            model.rows, other.log = before
    return other, changes


def _disturb(one_of: Callable[[Sequence[Any]], Any], hall: Hall, model: Guarded) -> None:
    """One change of a table's rows, or of what they were."""
    what = one_of(["cell", "cell", "cell", "come", "go", "image", "image", "log"])
    mine = [change for change in hall.log if change.table == model.name]
    if what == "image" and mine:
        change = one_of(mine)
        if change.before is not None:
            was = change.before | _cell(one_of, hall, model)
            hall.log = tuple(replace(each, before=was) if each is change else each for each in hall.log)
        return
    if what == "log":
        others = [change for change in hall.log if change.table != model.name]
        hall.log = (*others, *draw_changes(one_of, hall, model))
        return
    if what == "come" or not model.rows:
        number = one_of(range(1, 61))
        if number not in {row["id"] for row in model.rows} | {change.key for change in mine}:
            rows = [*model.rows, draw_row(one_of, hall, model, number)]
            model.rows = sorted(rows, key=lambda row: row["id"])
        return
    picked = one_of(model.rows)
    if what == "go":
        model.rows = [row for row in model.rows if row is not picked]
        hall.log = tuple(each for each in hall.log if (each.table, each.key) != (model.name, picked["id"]))
        return
    row = picked | _cell(one_of, hall, model)
    model.rows = [row if each is picked else each for each in model.rows]
    hall.log = tuple(replace(each, after=row) if each.after is picked else each for each in hall.log)


def _cell(one_of: Callable[[Sequence[Any]], Any], hall: Hall, model: Guarded) -> Row:
    """A new value of a field; what is masked is tried the most."""
    name = one_of([n for n in (*model.columns, *model.fields) if n not in ("id", *STAMPS)])
    return {name: draw_row(one_of, hall, model, 0)[name]}


def _whole(hall: Hall) -> bool:
    """Whether every reference leads to a row."""
    keys = {model.name: {row["id"] for row in model.rows} for model in hall.models.values()}
    return all(
        row[column] is None or row[column] in keys[name]
        for model in hall.models.values()
        for column, name in model.references.items()
        for row in model.rows
    )
