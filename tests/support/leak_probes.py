"""Requests that try to learn what one may not know: reads of all kinds, single writes, and compound ones."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

from hypothesis import strategies as st

from support.guarded import NEW as NUMBER
from support.guarded import Guarded, Hall, back_of, draw_row
from support.guarded_requests import NEW, REMOVED, Play
from support.guarded_rules import Row, Who
from support.guarded_sight import history, passable, plain, sees
from support.guarded_writes import refers, settable
from support.made import Pairs, draw_aggregate, draw_includes, draw_list
from support.seed import STAMPS

#: When the rows were as they are: nothing has changed since.
PAST = "2026-01-02T03:04:06Z"
#: How often a write is made up anew that would not be done.
TRIES = 8
CSV, NDJSON = "text/csv", "application/x-ndjson"


class Probe(NamedTuple):
    """A request. The body of an import is its rows; that of an undo has the change's place in the history."""

    method: str
    path: str
    pairs: Pairs = []
    body: Any = None
    media: str = ""

    @property
    def kind(self) -> str:
        """What is counted together."""
        last = self.path.rpartition("/")[2]
        if last in ("batch", "undo", "import", "restore"):
            return "dry run" if last == "batch" and self.body.get("dry_run") else last
        if isinstance(self.body, list):
            return "list"
        if self.pairs and self.method != "GET":
            return f"{self.method} by filter"
        return (
            f"nested {self.method}" if any(isinstance(v, list) for v in (self.body or {}).values()) else self.method
        )


def draw_read(draw: Any, hall: Hall) -> Probe:
    """A list, an item, a nested list, an aggregate, an export or a history, of anything that is there or not.

    As it is or was, by itself or in a batch.
    """
    model = hall.models[draw(st.sampled_from(sorted(hall.models)))]
    changed = [change.key for change in hall.log if change.table == model.name]
    keys = st.sampled_from([*(row["id"] for row in model.rows), *changed, 60])
    kind = draw(
        st.sampled_from(["list", "list", "cursor", "item", "nested", "aggregate", "export", "history", "typo"])
    )
    path, pairs = f"/{model.name}", []
    if kind in ("list", "cursor", "typo", "export"):
        pairs = draw_list(draw, hall, model)
    if kind == "item":
        path, pairs = f"{path}/{draw(keys)}", _embedded(draw, hall, model)
    if kind == "history":
        path = f"{path}/{draw(keys)}/history"
    if kind == "nested" and model.many:
        way = draw(st.sampled_from(sorted(model.many)))
        path, pairs = f"{path}/{draw(keys)}/{way}", draw_list(draw, hall, hall.models[model.many[way]])
    if kind == "aggregate":
        path, pairs = f"{path}/aggregate", draw_aggregate(draw, hall, model)
    if kind == "export":
        path = f"{path}/export"
        pairs.append(("format", draw(st.sampled_from(["ndjson", "csv"]))))
    if kind == "typo":
        name = draw(st.sampled_from(sorted([*model.columns, *model.one, *model.many])))
        pairs.append((f"{name[:-1]}x", "1"))
    if kind in ("list", "item", "aggregate", "export") and model.soft and draw(st.integers(0, 3)) == 0:
        pairs.append(("with_deleted", draw(st.sampled_from(["true", "only"]))))
    if kind == "cursor":
        pairs += [("cursor", ""), ("limit", "2")]
    elif kind == "list":
        pairs += draw(st.sampled_from([[], [("limit", "1"), ("page", "2")], [("count", "false"), ("limit", "2")]]))
    if kind in ("list", "cursor", "item", "nested") and draw(st.integers(0, 4)) == 0:
        pairs.append(("as_of", PAST))
    if kind != "export" and draw(st.integers(0, 5)) == 0:
        operation = {"method": "GET", "path": f"{path}?{urlencode(pairs)}"}
        return Probe("POST", "/batch", [], {"operations": [operation]})
    return Probe("GET", path, pairs)


def _embedded(draw: Any, hall: Hall, model: Guarded) -> Pairs:
    pairs = draw_includes(draw, hall, model)
    paths = ",".join(value for name, value in pairs if name == "include")
    return [pair for pair in pairs if pair[0] != "include"] + ([("include", paths)] if paths else [])


class Writes:
    """Makes up writes of a principal: mostly such as are done, now and then such as are not."""

    def __init__(self, seed: int, hall: Hall, who: Who) -> None:
        self._random, self._who = Random(seed), who
        #: The world as the story has made it so far.
        self._stage = Play(hall.copy(), who, silent=True)

    def story(self) -> list[Probe]:
        """A few writes that go on from each other."""
        kinds = [self._single, self._tree, self._tree, self._rows, self._filtered, self._batch, self._batch]
        found = [self._likely(*kinds)]
        for _ in range(self._random.randint(1, 2)):
            found.append(self._likely(*([self._undo] if self._one_in(2) else kinds)))
        return found

    def _likely(self, *kinds: Callable[[], Probe]) -> Probe:
        """A write that changes something, if one is found; the next one goes on from there."""
        tries = 1 if self._one_in(8) else TRIES
        before, probe = self._stage, self._random.choice(kinds)()
        for _ in range(tries):
            self._stage = Play(before.world, self._who, silent=True, made=before.made, last=before.last)
            if self._stage.done(probe) and self._stage.changed:
                return probe
            self._stage, probe = before, self._random.choice(kinds)()
        return probe

    def _single(self) -> Probe:
        """A create, change, replacement, delete or restore of one row, that is or is not there."""
        model = self._model()
        method = self._one_of("POST", "POST", "PATCH", "PATCH", "PUT", "DELETE", "restore")
        if method == "restore":
            gone = [row["id"] for row in model.rows if row.get("deleted_at")]
            return Probe("POST", f"/{model.name}/{self._one_of(*gone, *gone, 60)}/restore")
        if method == "DELETE":
            return Probe("DELETE", f"/{model.name}/{self._key(model)}")
        if method != "POST":
            return Probe(method, f"/{model.name}/{self._key(model)}", [], self._values(model))
        if model.references and self._one_in(2):
            column = self._one_of(*sorted(model.references))
            parent = self._hall.models[model.references[column]]
            body = {name: value for name, value in self._values(model).items() if name != column}
            return Probe("POST", f"/{parent.name}/{self._key(parent)}/{back_of(model.name, column)}", [], body)
        return Probe("POST", f"/{model.name}", [], self._values(model))

    def _tree(self) -> Probe:
        """A row with the rows that belong to it: new ones, changed ones and removed ones."""
        parents = [model for model in self._hall.models.values() if self._ways(model)]
        if not parents:
            return self._single()
        model = self._one_of(*parents)
        method = self._one_of("POST", "PATCH", "PATCH", "PUT")
        key = 0 if method == "POST" else self._key(model)
        body = self._values(model)
        ways = self._ways(model)
        for way in self._random.sample(ways, min(self._random.randint(1, 2), len(ways))):
            child = self._hall.models[model.many[way]]
            (link,) = (column for column in child.references if way == back_of(child.name, column))
            body[way] = [self._child(child, link, key) for _ in range(self._random.randint(0, 3))]
        return Probe(method, f"/{model.name}" if method == "POST" else f"/{model.name}/{key}", [], body)

    def _ways(self, model: Guarded) -> list[str]:
        """Those to children whose reference it may set, and now and then the others."""
        ways = sorted(set(model.many) - set(model.links))
        free = {
            back_of(name, c) for name in model.many.values() for c in settable(self._hall.models[name], self._who)
        }
        likely = [way for way in ways if way in free and passable(self._hall, model, way, self._who)]
        return ways if self._one_in(8) else likely

    def _child(self, child: Guarded, link: str, key: int) -> Row:
        mine = [row["id"] for row in child.rows if row[link] == key and row["id"] <= NUMBER] if key else []
        kind = self._one_of("new", *(["change", "change", "remove"] if mine else []))
        values = {name: value for name, value in self._values(child).items() if name != link}
        if kind == "new":
            return values
        number = self._one_of(*mine, *mine, *mine, self._random.randint(1, 9))
        return {"id": number, REMOVED: True} if kind == "remove" else {"id": number} | values

    def _rows(self) -> Probe:
        """New rows, as a list or a file."""
        model = self._model()
        rows = [self._values(model) for _ in range(self._random.randint(1, 3))]
        kind = self._one_of("list", NDJSON, CSV)
        if kind == "list":
            return Probe("POST", f"/{model.name}", [], rows)
        if kind == CSV:  # whose rows all have the same fields
            names = [name for name in rows[0] if name != "word"] or ["num"]
            rows = [{name: row.get(name) for name in names} for row in rows]
        return Probe("POST", f"/{model.name}/import", [], rows, kind)

    def _filtered(self) -> Probe:
        """A change or delete of the rows of a filter."""
        model = self._model()
        keys = ",".join(str(row["id"]) for row in model.rows if row["id"] <= NUMBER and not self._one_in(3)) or "60"
        pairs = [("id[in]", keys)]
        if self._one_in(2):
            name = self._one_of("num", "owner", "flag", "word")
            values = {str(row[name]).lower() for row in model.rows if row[name] is not None and name != "word"}
            some = [(name, value) for value in sorted(values)]
            pairs.append(self._one_of(*some, (f"{name}[is]", "null"), (f"{name}[is]", "notnull")))
        if self._one_in(3):
            return Probe("DELETE", f"/{model.name}", pairs)
        return Probe("PATCH", f"/{model.name}", pairs, self._values(model))

    def _batch(self) -> Probe:
        """Several writes and reads, of which some refer to rows that others make."""
        before, operations = self._stage, list[dict[str, Any]]()
        self._stage = Play(before.world, self._who, silent=True)
        kinds = [self._single, self._single, self._tree, self._filtered, self._read]
        for place in range(self._random.randint(2, 4)):
            kind, earlier = self._random.choice(kinds), self._stage
            operations.append(operation_of(self._likely(lambda kind=kind: self._referring(kind()))))
            if self._stage is not earlier and self._stage.created is not None:
                self._stage.made = self._stage.made | {str(place): self._stage.created}
        self._stage = before
        return Probe(
            "POST", "/batch", [], {"operations": operations} | ({"dry_run": True} if self._one_in(4) else {})
        )

    def _referring(self, probe: Probe) -> Probe:
        """An operation, some of whose keys are those of rows that others of its batch make."""
        parts, body = probe.path.removeprefix("/").split("/"), probe.body
        earlier: dict[str, list[str]] = {}
        for place, (name, _) in self._stage.made.items():
            earlier.setdefault(name, []).append(place)
        if len(parts) == 2 and parts[0] in earlier and self._one_in(2):
            probe = probe._replace(path=f"/{parts[0]}/{{{self._one_of(*earlier[parts[0]])}.id}}")
        if isinstance(body, dict) and len(parts) < 3:
            references = self._hall.models[parts[0]].references
            led = {c: {"$ref": f"{self._one_of(*earlier[n])}.id"} for c, n in references.items() if n in earlier}
            probe = probe._replace(body=body | {c: led[c] for c in led if c in body or self._one_in(2)})
        return probe

    def _undo(self) -> Probe:
        """The opposite of a change of a row: mostly of one that was changed before."""
        log = self._stage.world.log
        if not log or self._one_in(6):
            model = self._model()
            return Probe("POST", f"/{model.name}/{self._key(model)}/undo", [], {"change": 0})
        change = self._one_of(*log)
        shown = history(self._hall, self._hall.models[change.table], change.key, self._who) or []
        place = next((place for place, each in enumerate(shown) if each[0] is change), self._random.randint(0, 2))
        # Databases number new rows each in its way.
        path = NEW if change.key > NUMBER else f"/{change.table}/{change.key}"
        return Probe("POST", f"{path}/undo", [], {"change": place})

    def _read(self) -> Probe:
        model = self._model()
        key = self._key(model)
        return Probe("GET", self._one_of(f"/{model.name}", f"/{model.name}/{key}", f"/{model.name}/{key}/history"))

    @property
    def _hall(self) -> Hall:
        return self._stage.world

    def _one_in(self, many: int) -> bool:
        return self._random.randrange(many) == 0

    def _one_of(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def _model(self) -> Guarded:
        return self._hall.models[self._one_of(*sorted(self._hall.models))]

    def _key(self, model: Guarded) -> int:
        """Of a row that it sees, mostly."""
        seen = [row["id"] for row in model.rows if sees(self._hall, model, row, plain(self._who))]
        found = seen if seen and not self._one_in(4) else [*(row["id"] for row in model.rows), 60]
        return self._one_of(*(key for key in found if key <= NUMBER), *([] if min(found) <= NUMBER else [60]))

    def _values(self, model: Guarded) -> Row:
        """Some fields with values as JSON has them."""
        row = draw_row(self._random.choice, self._hall, model, 0)
        for column, name in model.references.items():
            there = self._hall.models[name]
            fit = [other["id"] for other in there.rows if refers(self._hall, model, column, other, self._who)]
            fit = [None, *(key for key in fit if key <= NUMBER)]
            row[column] = self._one_of(*([row[column], *range(1, 10)] if self._one_in(4) else fit))
        names = settable(model, self._who)
        if not names or self._one_in(10):
            names = [n for n in model.columns if n in row and n not in ("id", "tenant_id", "deleted_at", *STAMPS)]
        picked = self._random.sample(names, self._random.randint(0, min(4, len(names))))
        return {n: str(row[n]) if n == "price" and row[n] is not None else row[n] for n in picked}


def operation_of(probe: Probe) -> dict[str, Any]:
    """A request as part of a batch."""
    query = f"?{urlencode(probe.pairs)}" if probe.pairs else ""
    found = {"method": probe.method, "path": probe.path + query}
    return found if probe.body is None else found | {"body": probe.body}
