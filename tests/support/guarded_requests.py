"""What requests make of a world, compound ones too, and what one may know of that.

Nested rows, lists, files, filters, batches and undo, each as the single writes that it is made of.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from support.guarded import Change, Guarded, Hall, back_of
from support.guarded_rules import Row, Who, by_row
from support.guarded_sight import history, known, sees, shown, visible
from support.guarded_writes import RefusedError, Stage, settable, stored
from support.seed import STAMPS

REMOVED = "_delete"
#: Stands for the path of the row that was made last.
NEW = "{new}"


class Play(Stage):
    """Requests, as `leak_probes` draws them, played step by step.

    Args:
        made: the rows that the operations of a batch have made, by their places: table and key.
        last: the path of the row that was made last.
    """

    def __init__(
        self,
        world: Hall,
        who: Who,
        *,
        silent: bool = False,
        made: dict[str, tuple[str, int]] | None = None,
        last: str = "/t0/60",
    ) -> None:
        super().__init__(world, who, silent=silent)
        self.made, self.last = made or {}, last
        self.created: tuple[str, int] | None = None

    def done(self, probe: Any) -> bool:
        """Whether a request changes the world; what a dry run does is undone."""
        before = self.world
        try:
            path = _resolved(probe.path.replace(NEW, self.last), self.made)
            self.request(probe.method, path, probe.pairs, _resolved(probe.body, self.made))
        except RefusedError:
            self.world = before
            return False
        return True

    def request(self, method: str, path: str, pairs: list[tuple[str, str]], body: Any) -> None:
        """One request; `created` is the row that it made, if it is one.

        Raises:
            RefusedError: it changes nothing.
        """
        parts = path.removeprefix("/").split("/")
        if len(parts) > 1 and "{" in parts[1]:
            self._refuse("no such operation")
        if method == "GET":
            self.told.append(None if self.silent else visible(self.world, self.who))
            self._look(parts)
            return
        if parts[0] == "batch":
            self._batch(body)
            return
        model = self.world.models[parts[0]]
        if isinstance(body, list):
            self._list(model, body, whole=parts[-1] != "import")
        elif parts[-1] == "restore":
            self.restore(model, int(parts[1]))
        elif parts[-1] == "undo":
            self._undo(model, int(parts[1]), body["change"])
        elif len(parts) == 1 and method in ("PATCH", "DELETE"):
            self._filter(model, method, pairs, body)
        elif method == "DELETE":
            self.delete(model, int(parts[1]))
        else:
            self._tree(method, model, parts, body)

    def _look(self, parts: list[str]) -> None:
        """Read a list, an item or a history, which may be refused too."""
        model, who = self.world.models[parts[0]], self.who
        if len(parts) == 2:
            self._visible(model, int(parts[1]))
        elif len(parts) == 3 and history(self.world, model, int(parts[1]), who) is None:
            self._refuse("no history", absent=True)
        elif model.rules["read"].verdict(who) is False or not who.covers(model.name, "read"):
            self._refuse("unreadable")

    def _tree(self, method: str, model: Guarded, parts: list[str], body: Row) -> None:
        """A row and its children."""
        if len(parts) == 3:
            parent, way = model, parts[2]
            model = self.world.models[parent.many[way]]
            self._visible(parent, int(parts[1]))
            (column,) = (c for c in model.references if way == back_of(model.name, c))
            body = body | {column: int(parts[1])}
        ways = [name for name in body if name in model.many]
        own = stored({name: value for name, value in body.items() if name not in ways})
        if method == "POST":
            made = self.create(model, own)
        else:
            made = int(parts[1])
            self.change(model, made, own, whole=method == "PUT")
        for way in ways:
            self._children(model, made, way, body[way], method)
        if ways:
            self._visible(self.world.models[model.name], made)
        if method == "POST":
            self._made(model, made)

    def _made(self, model: Guarded, key: int) -> None:
        self.created, self.last = (model.name, key), f"/{model.name}/{key}"

    def _visible(self, model: Guarded, key: int) -> None:
        row = self.world.row(model, key)
        if row is None or not sees(self.world, model, row, self.who):
            self._refuse("out of sight", absent=True)

    def _children(self, model: Guarded, key: int, way: str, items: list[Row], method: str) -> None:
        name = model.many[way]
        (column,) = (c for c in self.world.models[name].references if way == back_of(name, c))

        def mine() -> list[int]:
            here, child = self.world.models[model.name], self.world.models[name]
            row = self.world.row(here, key)
            if row is None or not sees(self.world, here, row, self.who):
                return []
            return [r["id"] for r in child.rows if r[column] == key and sees(self.world, child, r, self.who)]

        named = [item["id"] for item in items if "id" in item]
        for gone in sorted(set(mine()) - set(named)) if method == "PUT" else ():
            self.delete(self.world.models[name], gone)
        for item in items:
            child = self.world.models[name]
            rest = {n: v for n, v in item.items() if n not in ("id", column, REMOVED)}
            if "id" not in item:
                self.create(child, stored(rest) | {column: key})
            elif method == "POST" or item["id"] not in mine():
                self._refuse("no child")
            elif item.get(REMOVED):
                self.delete(child, item["id"])
            elif rest:
                self.change(child, item["id"], stored(rest))

    def _list(self, model: Guarded, rows: list[Row], *, whole: bool) -> None:
        """New rows; all of them or, of a file, those that are not refused for what is in them."""
        refused = False
        for row in rows:
            before = self.world
            try:
                self.create(self.world.models[model.name], stored(row))
            except RefusedError as error:
                self.world, refused = before, True
                if not error.of_values:
                    raise
        if refused and whole:
            raise RefusedError

    def _filter(self, model: Guarded, method: str, pairs: list[tuple[str, str]], body: Row | None) -> None:
        """The rows of a filter that may be written, one after the other; one that is gone by then is passed over."""
        action = "update" if method == "PATCH" else "delete"
        names = {name.partition("[")[0] for name, _ in pairs}
        if not names <= set(known(model, self.who)) or not set(body or {}) <= set(settable(model, self.who)):
            self._refuse("a field that is not there")
        if model.rules[action].verdict(self.who) is False or not self.who.covers(model.name, action):
            self._refuse("never")
        seen = [row for row in model.rows if sees(self.world, model, row, self.who)]
        may = [row for row in seen if model.rules[action].holds(row, model, self.world, self.who) is True]
        keys = [row["id"] for row in may if _fits(shown(self.world, model, row, self.who), pairs)]
        self.told.append(sorted(keys))
        for key in sorted(keys):
            try:
                if method == "PATCH":
                    self.change(self.world.models[model.name], key, stored(body or {}))
                else:
                    self.delete(self.world.models[model.name], key)
            except RefusedError as error:
                if not error.absent:
                    raise

    def _batch(self, body: dict[str, Any]) -> None:
        before, last, self.made = self.world, self.last, {}
        for place, operation in enumerate(body["operations"]):
            path, _, query = _resolved(operation["path"], self.made).partition("?")
            self.created = None
            self.request(operation["method"], path, parse_qsl(query), _resolved(operation.get("body"), self.made))
            if self.created is not None:
                self.made[str(place)] = self.created
        if body.get("dry_run"):
            self.world, self.last = before, last

    def _undo(self, model: Guarded, key: int, place: int) -> None:
        """The opposite of the change at a place of what is shown of a row's history."""
        listed = history(self.world, model, key, self.who) or []
        if place >= len(listed):
            self._refuse("no such change", absent=True)
        change, before, after = listed[place]
        now = self.world.row(model, key)
        if (change.before is not None and before is None) or (change.after is not None and after is None):
            self._refuse("one side")
        may = set(settable(model, self.who))
        if change.after is None or after is None:
            was = change.before or {}
            served = {"id", "tenant_id", "deleted_at", *STAMPS} | ({"owner"} if model.stamped else set())
            named = {name for name, value in (before or {}).items() if value is not None} - served
            if now is not None or not named <= may:
                self._refuse("there again, or not to be set")
            unseen = [name for name, value in was.items() if (before or {}).get(name) != value]
            self._made(model, self.create(model, {name: was[name] for name in sorted(may)}, was, unseen))
            return
        there = {} if now is None else shown(self.world, model, now, self.who)
        told = set(after) if before is None else {name for name in after if before[name] != after[name]}
        if now is None or any(there[name] != after[name] for name in told):
            self._refuse("changed since")
        elif change.before is None:
            self.delete(model, key)
        else:
            self._back(model, change, before or {}, told, now)

    def _back(self, model: Guarded, change: Change, before: Row, told: set[str], now: Row) -> None:
        """Give what a change touched its values again, where nobody has changed it since; `before` is shown of it."""
        was, then = change.before or {}, change.after or {}
        may = set(settable(model, self.who))
        touched = {name for name in was if was[name] != then[name] == now[name]}
        if "deleted_at" in touched and told <= {"deleted_at"}:
            (self.restore if was["deleted_at"] is None else self.delete)(model, now["id"])
            return
        seen = known(model, self.who)
        unseen = [n for n in may if n not in seen or (n in model.fields and by_row(model.fields[n][0]))]
        if not told <= may or not (told or unseen):
            self._refuse("not to be set")
        unseen = [name for name, value in was.items() if before.get(name) != value]
        self.change(model, now["id"], {name: was[name] for name in sorted(touched & may)}, unseen=unseen)


def _fits(row: Row, pairs: list[tuple[str, str]]) -> bool:
    """Whether a row as it is shown has the values of a filter."""
    for name, value in pairs:
        column, _, op = name.removesuffix("]").partition("[")
        found = row.get(column)
        if op == "in":
            fits = found is not None and str(found) in value.split(",")
        elif op == "is":
            fits = (found is None) is (value == "null")
        else:
            fits = found is not None and str(found).lower() == value
        if not fits:
            return False
    return True


def _resolved(value: Any, made: dict[str, tuple[str, int]]) -> Any:
    """A path or body whose references are to what was made; 0 where nothing was."""
    if isinstance(value, str):
        for name, (_, key) in made.items():
            value = value.replace(f"{{{name}.id}}", str(key))
        return value
    if isinstance(value, dict):
        if list(value) == ["$ref"]:
            return made.get(value["$ref"].removesuffix(".id"), ("", 0))[1]
        return {name: _resolved(member, made) for name, member in value.items()}
    return [_resolved(item, made) for item in value] if isinstance(value, list) else value
