"""Random worlds over both databases, and requests that fit them: names that are there, values that rows have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from hypothesis import strategies as st

from backstay import Backstay, public
from support.asgi import Client, quiet, sync_engine
from support.databases import DATABASES
from support.postgres import fresh_database
from support.render import quoted
from support.schemas import Model, World, text_of

Pairs = list[tuple[str, str]]
OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "like", "ilike", "contains")


def fresh_urls(folder: Path) -> dict[str, str]:
    """A database of each kind, whose tables each world makes anew."""
    return {"sqlite": f"sqlite:///{folder / 'made.db'}", "postgresql": fresh_database()}


@contextmanager
def served(urls: dict[str, str], world: World) -> Iterator[dict[str, Client]]:
    """The world over both databases."""
    clients: dict[str, Client] = {}
    Path(urls["sqlite"].removeprefix("sqlite:///")).unlink(missing_ok=True)
    with psycopg.connect(urls["postgresql"], autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    for name in DATABASES:
        engine = sync_engine(urls[name])
        world.fill(engine)
        engine.dispose()
        app = Backstay("made", config=quiet(urls[name]))
        for model in world.models.values():
            app.resource(model.mapped, read=public, write=public)
        clients[name] = Client(app)
    try:
        yield clients
    finally:
        for client in clients.values():
            client.__exit__()


def draw_filter(draw: Any, world: World, model: Model, depth: int = 2) -> tuple[str, str]:
    """A name with an operator, and a value: mostly one that a row has."""
    ways = model.one | model.many
    if depth and ways and draw(st.booleans()):
        way = draw(st.sampled_from(sorted(ways)))
        name, value = draw_filter(draw, world, world.models[ways[way]], depth - 1)
        return f"{way}.{name}", value
    column = draw(st.sampled_from(sorted(model.columns)))
    if draw(st.integers(0, 5)) == 0:
        return f"{column}[is]", draw(st.sampled_from(["null", "notnull"]))
    op = draw(st.sampled_from(operators_of(model, column)))
    values = [text_of(row.get(column)) for row in model.rows]
    given = st.sampled_from(values) if values else st.just("1")
    value = draw(given | model.type_of(column).values.map(text_of))
    if op in ("in", "nin"):
        value = ",".join(quoted(item) for item in (value, draw(given)))
    if op in ("like", "ilike"):
        value = draw(st.sampled_from([value, f"{value[:1]}%", f"%{value[1:]}", "_%", "%\\%", value.swapcase()]))
    return f"{column}[{op}]", value


def operators_of(model: Model, column: str) -> tuple[str, ...]:
    """Those that a column has; now and then a binary column is asked too, which refuses them all."""
    if not model.type_of(column).ordered:
        return ("contains",)
    return OPERATORS if model.columns[column] == "text" else OPERATORS[:8]


def draw_filters(draw: Any, world: World, model: Model) -> Pairs:
    """A few filters, some of them in a group."""
    pairs = [draw_filter(draw, world, model) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.integers(0, 3)) == 0:
        parts = [draw_filter(draw, world, model) for _ in range(2)]
        pairs.append(("or", "(" + ",".join(f"{name}={quoted(value)}" for name, value in parts) + ")"))
    return list(dict(pairs).items())


def draw_sort(draw: Any, world: World, model: Model) -> str:
    """Up to three keys, also of to-one rows."""
    keys = model.where() + [f"{way}.{key}" for way, name in model.one.items() for key in world.models[name].where()]
    chosen = draw(st.lists(st.sampled_from(keys), max_size=3, unique=True))
    return ",".join(("-" if draw(st.booleans()) else "") + key for key in chosen)


def draw_includes(draw: Any, world: World, model: Model, prefix: str = "", depth: int = 2) -> Pairs:
    """Relations with fields, an order and a limit of their own."""
    pairs: Pairs = []
    ways = model.one | model.many
    for way in draw(st.lists(st.sampled_from(sorted(ways)), max_size=2, unique=True)) if ways and depth else []:
        path, there = prefix + way, world.models[ways[way]]
        pairs.append(("include", path))
        if draw(st.booleans()):
            fields = draw(st.lists(st.sampled_from(sorted(there.columns)), min_size=1, max_size=3, unique=True))
            pairs.append((f"fields[{path}]", ",".join(fields)))
        sort = draw_sort(draw, world, there) if way in model.many and draw(st.booleans()) else ""
        if sort:
            pairs.append((f"sort[{path}]", sort))
        if way in model.many and draw(st.booleans()):
            pairs.append((f"limit[{path}]", str(draw(st.integers(1, 3)))))
        pairs += draw_includes(draw, world, there, f"{path}.", depth - 1)
    return pairs


def draw_list(draw: Any, world: World, model: Model) -> Pairs:
    """A whole list's parameters."""
    includes = draw_includes(draw, world, model)
    paths = [value for name, value in includes if name == "include"]
    pairs = draw_filters(draw, world, model) + [pair for pair in includes if pair[0] != "include"]
    if paths:
        pairs.append(("include", ",".join(paths)))
    sort = draw_sort(draw, world, model)
    if sort:
        pairs.append(("sort", sort))
    if draw(st.booleans()):
        fields = draw(st.lists(st.sampled_from(sorted(model.columns)), max_size=4, unique=True))
        pairs.append(("fields", ",".join(fields)))
    return pairs


def draw_aggregate(draw: Any, world: World, model: Model) -> Pairs:
    """Groups and measures."""
    measures = ["count"]
    for column in draw(st.lists(st.sampled_from(model.where()), max_size=3, unique=True)):
        functions = ["min", "max", "count", "count distinct"]
        if column in model.where(sums=True):
            functions += ["sum", "avg", "sum distinct"]
        function, _, distinct = draw(st.sampled_from(functions)).partition(" ")
        measures.append(f"{function}({distinct + ' ' if distinct else ''}{column})")
    keys = model.where() + [f"{way}.{key}" for way, name in model.one.items() for key in world.models[name].where()]
    groups = draw(st.lists(st.sampled_from(keys), max_size=2, unique=True))
    pairs = [*draw_filters(draw, world, model), ("select", ",".join(measures))]
    if groups:
        pairs.append(("group", ",".join(groups)))
        if draw(st.booleans()):
            pairs.append(("sort", "-count"))
    return pairs
