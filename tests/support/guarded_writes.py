"""What single writes make of a world, and what one may know of that; see `guarded_requests` for whole requests.

The answers of two worlds may differ where a write that is admitted leaves worlds that look different. As a row that
was made to refer to a hidden team may be shown or not by a rule about teams.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from support.guarded import NEW as NUMBER
from support.guarded import Change, Guarded, Hall
from support.guarded_rules import Row, Rule, Who, by_row
from support.guarded_sight import in_scope, outcomes, plain, sees, shown, view
from support.seed import STAMPS


class RefusedError(Exception):
    """A write that changes nothing.

    Args:
        of_values: it is refused for what is in its body.
    """

    def __init__(self, *, absent: bool = False, of_values: bool = False) -> None:
        super().__init__("refused")
        self.absent, self.of_values = absent, of_values


def settable(model: Guarded, who: Who) -> list[str]:
    """The fields that a body may set."""
    found = [n for n in model.columns if n not in ("id", "tenant_id", "deleted_at", *STAMPS)]
    found = [n for n in found if not (model.stamped and n == "owner")]
    ruled = {name: write or read for name, (read, write) in model.fields.items()}
    return [n for n in found if n not in ruled or ruled[n].verdict(who) is not False]


def refers(hall: Hall, model: Guarded, column: str, row: Row, who: Who) -> bool:
    """Whether a reference may lead to a row."""
    there = hall.models[model.references[column]]
    rule: Rule = model.refers.get(column, there.rules["read"])
    return in_scope(there, row, who) and rule.holds(row, there, hall, who) is True


def stored(values: Row) -> Row:
    """The values of a body as the database has them."""
    return {n: Decimal(v) if n == "price" and v is not None else v for n, v in values.items()}


class Stage:
    """A world, and single writes of a principal that go on from each other.

    Args:
        silent: nobody asks what may be known of the writes, which is dear.

    Attributes:
        told: what may be known of each write; where two worlds differ in it, answers may.
        changed: whether anything was written, be it undone later.
    """

    def __init__(self, world: Hall, who: Who, *, silent: bool = False) -> None:
        self.world, self.who, self.silent = world, who, silent
        self.told: list[Any] = []
        self.changed = False

    def create(
        self, model: Guarded, given: Row, kept: Row | None = None, unseen: Collection[str] = frozenset()
    ) -> int:
        """A new row; its key.

        Args:
            kept: what it was before it was deleted.
            unseen: the fields of which one may know nothing, not even that they refer to no row.
        """
        who = self.who
        self._may_name(model, given)
        row = dict.fromkeys(model.columns) | {"id": self._next(model)} | STAMPS
        row |= {"tenant_id": who.tenant} if model.tenant else {}
        row |= {"owner": who.id} if model.stamped else {}
        row |= given if kept is None else kept
        new = self._with(model, row)
        admitted = model.rules["create"].holds(row, new.models[model.name], new, who) is True
        admitted = admitted and not (model.tenant and who.tenant is None)
        self._judge(new, model, row, given, action="create", admitted=admitted, unseen=unseen)
        if kept is not None:
            self._led([self._is_there(new, model, c, row[c]) for c in model.references if c not in given])
        self._take(new, Change(model.name, row["id"], None, row))
        return row["id"]

    def change(
        self, model: Guarded, key: int, given: Row, *, whole: bool = False, unseen: Collection[str] = frozenset()
    ) -> None:
        """New values in a row; `unseen` as in `create`."""
        was = self._found(model, key, "update")
        filled: Row = {}
        if whole:
            ruled = {name for name, rules in model.fields.items() if any(by_row(rule) for rule in rules)}
            filled = {name: None for name in settable(model, self.who) if name not in ruled}
        self._may_name(model, given)
        given = filled | given
        rules = [model.fields[name][1] for name in given if name in model.fields]
        if not all(rule is None or rule.holds(was, model, self.world, self.who) is True for rule in rules):
            self._refuse("fields")
        row = was | given
        new = self._with(model, row)
        admitted = model.rules["update"].holds(row, new.models[model.name], new, self.who) is True
        self._judge(new, model, row, given, action="update", admitted=admitted, unseen=unseen)
        self._take(new, Change(model.name, key, was, row))

    def delete(self, model: Guarded, key: int) -> None:
        """A row less, or one that is marked."""
        was = self._found(model, key, "delete")
        if model.soft:
            row = was | {"deleted_at": STAMPS["created_at"]}
            self._mark(model, was, row)
            return
        held = self._refers_to(model, key)
        self.told.append(("held", held))
        if held:
            raise RefusedError
        new = self.world.copy()
        new.models[model.name].rows = [row for row in model.rows if row["id"] != key]
        self.told.append(None if self.silent else view(new, self.who))
        self._take(new, Change(model.name, key, was, None))

    def restore(self, model: Guarded, key: int) -> None:
        """A row that was deleted softly is there again."""
        was = self.world.row(model, key)
        if was is None or not model.soft or not sees(self.world, model, was, plain(self.who), deleted=True):
            self._refuse("absent", absent=True)
        else:
            self._mark(model, was, was | {"deleted_at": None})

    def _mark(self, model: Guarded, was: Row, row: Row) -> None:
        new = self._with(model, row)
        self._judge(new, model, row, {}, action="delete", admitted=True)
        self._take(new, Change(model.name, was["id"], was, row))

    def _found(self, model: Guarded, key: int, action: str) -> Row:
        row = self.world.row(model, key)
        model = self.world.models[model.name]
        if row is None or not sees(self.world, model, row, plain(self.who)):
            self._refuse("absent", absent=True)
        elif model.rules[action].holds(row, model, self.world, self.who) is not True:
            self._refuse("forbidden")
        else:
            return row
        raise AssertionError("refused")

    def _judge(
        self,
        new: Hall,
        model: Guarded,
        row: Row,
        given: Row,
        *,
        action: str,
        admitted: bool,
        unseen: Collection[str] = frozenset(),
    ) -> None:
        """Note what may be known of a row as it would be.

        Raises:
            RefusedError: the rules do not admit it.
        """
        who, there = self.who, new.models[model.name]
        if not self.silent:
            truths = {name: rule.holds(row, there, new, who) for name, rule in model.rules.items()}
            self.told.append((view(new, who), shown(new, there, row, who), truths, outcomes(new, there, row, who)))
        admitted = admitted and who.covers(model.name, action)
        led = {name: self._leads(new, model, name, row[name]) for name in given if name in model.references}
        told = all(led[name] for name in led if name not in unseen)
        writes = [model.fields[name][1] for name in given if name in model.fields] if action == "create" else []
        allowed = all(rule is None or rule.holds(row, there, new, who) is True for rule in writes)
        self.told.append((told, admitted and allowed))
        if not told:
            raise RefusedError(of_values=True)
        if not admitted or not allowed:
            raise RefusedError
        self._led([led[name] for name in led if name in unseen])

    def _led(self, led: list[bool]) -> None:
        """References that decide about a write that all else admits: they are known by it."""
        self.told.append(all(led))
        if not all(led):
            raise RefusedError

    def _is_there(self, new: Hall, model: Guarded, column: str, key: int | None) -> bool:
        """Whether a reference leads to a row, whoever may see that."""
        return key is None or new.row(new.models[model.references[column]], key) is not None

    def _leads(self, new: Hall, model: Guarded, column: str, key: int | None) -> bool:
        there = new.models[model.references[column]]
        row = None if key is None else new.row(there, key)
        return key is None if row is None else refers(new, model, column, row, self.who)

    def _refers_to(self, model: Guarded, key: int) -> bool:
        """Whether any row refers to a row."""
        return any(
            row[column] == key
            for child in self.world.models.values()
            for column, name in child.references.items()
            for row in child.rows
            if name == model.name
        )

    def _refuse(self, why: str, *, absent: bool = False) -> None:
        self.told.append(why)
        raise RefusedError(absent=absent)

    def _may_name(self, model: Guarded, given: Row) -> None:
        if not set(given) <= set(settable(model, self.who)):
            self.told.append("a field that nobody sets")
            raise RefusedError(of_values=True)

    def _next(self, model: Guarded) -> int:
        given = [change.key for change in self.world.log if change.table == model.name]
        return max([NUMBER, *given]) + 1

    def _with(self, model: Guarded, row: Row) -> Hall:
        """The world with a row in place of the one that had its key."""
        other = self.world.copy()
        kept = [each for each in self.world.models[model.name].rows if each["id"] != row["id"]]
        other.models[model.name].rows = [*kept, row]
        return other

    def _take(self, new: Hall, change: Change) -> None:
        new.log = (*new.log, change)
        self.world, self.changed = new, True
