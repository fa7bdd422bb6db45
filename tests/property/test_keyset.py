"""Keyset paging: cursors lead through every row once, whatever the rows and the order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.asgi import Client, sync_engine
from support.databases import DATABASES, empty_database
from support.kinds import COLUMNS, PATHS, PLAIN, Base, Owner, Thing, app_of, rows_of

relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
Row = dict[str, Any]


@dataclass(slots=True)
class Store:
    """The app with a table that each example fills anew."""

    client: Client
    engine: sa.Engine

    def fill(self, owners: list[Row], rows: list[Row]) -> None:
        """These rows and no others."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(Thing))
            connection.execute(sa.delete(Owner))
            if owners:
                connection.execute(sa.insert(Owner), owners)
        self.add(rows)

    def add(self, rows: list[Row]) -> None:
        """More rows."""
        with self.engine.begin() as connection:
            for row in rows:
                connection.execute(sa.insert(Thing), row)

    def remove(self, key: int) -> None:
        """One row less."""
        with self.engine.begin() as connection:
            connection.execute(sa.delete(Thing).where(Thing.id == key))

    def page(self, sort: str, limit: int, cursor: str) -> tuple[list[int], str | None, str | None]:
        """The ids of one keyset page, the next cursor and the one before."""
        query = [("sort", sort), ("limit", str(limit)), ("fields", "id"), ("cursor", cursor)]
        answer = self.client.get("/things", query)
        assert answer.status == 200, answer.body
        return [row["id"] for row in answer.data], answer.meta["next_cursor"], answer.meta["prev_cursor"]

    def offset_order(self, sort: str) -> list[int]:
        """All ids in the order of the offset pages."""
        query = [("sort", sort), ("limit", "100"), ("fields", "id"), ("count", "false")]
        return [row["id"] for row in self.client.get("/things", query).data]

    def forward(self, sort: str, limit: int, between: Callable[[], None] = lambda: None) -> list[list[int]]:
        """All pages from the first on; `between` runs after each."""
        pages: list[list[int]] = []
        cursor: str | None = ""
        while cursor is not None:
            ids, cursor, _ = self.page(sort, limit, cursor)
            pages.append(ids)
            between()
            assert len(pages) < 200, "paging does not end"
        return pages


@pytest.fixture(scope="module", params=DATABASES)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An app with empty tables."""
    url = empty_database(request.param, tmp_path_factory.mktemp("keyset"), Base.metadata)
    engine = sync_engine(url)
    with Client(app_of(url)) as client:
        yield Store(client, engine)
    engine.dispose()


@st.composite
def sorts(draw: st.DrawFn) -> list[str]:
    """One to three sort keys, each up or down, also through the to-one way; sometimes the id among them."""
    keys = draw(st.lists(st.sampled_from([*COLUMNS, *PATHS, "id"]), min_size=1, max_size=3, unique=True))
    return [("-" if draw(st.booleans()) else "") + key for key in keys]


@st.composite
def situations(draw: st.DrawFn) -> tuple[str, list[Row], list[Row], int]:
    """A sort, owners, things and a page size."""
    keys = draw(sorts())
    ranks = st.none() | st.integers(0, 2)
    owners = [{"id": i, "name": draw(st.sampled_from("abB")), "rank": draw(ranks)} for i in range(1, 4)]
    rows = draw(rows_of([k.lstrip("-") for k in keys if k.lstrip("-") in COLUMNS]))
    for row in rows:
        row["owner_id"] = draw(st.none() | st.integers(1, 3))
    return ",".join(keys), owners, rows, draw(st.integers(1, 5))


def flat(pages: list[list[int]]) -> list[int]:
    """The ids of all pages."""
    return [key for page in pages for key in page]


@relaxed
@given(situation=situations())
def test_forward_pages_are_the_offset_order_cut_into_pieces(
    store: Store, situation: tuple[str, list[Row], list[Row], int]
) -> None:
    """Following next_cursor gives every row once, in the very order of offset pages, each page but the last full."""
    sort, owners, rows, limit = situation
    store.fill(owners, rows)
    pages = store.forward(sort, limit)
    expected = store.offset_order(sort)
    assert len(expected) == len(rows)
    assert flat(pages) == expected
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1] or not rows


@relaxed
@given(situation=situations())
def test_backward_pages_are_the_forward_pages_in_reverse(
    store: Store, situation: tuple[str, list[Row], list[Row], int]
) -> None:
    """From the end, prev_cursor leads back over exactly the rows before, in order, and ends at the first row."""
    sort, owners, rows, limit = situation
    store.fill(owners, rows)
    expected = store.offset_order(sort)
    cursor: str | None = ""
    ids: list[int] = []
    before: str | None = None
    while cursor is not None:
        ids, cursor, before = store.page(sort, limit, cursor)
    seen = ids
    steps = 0
    while before is not None:
        ids, _, before = store.page(sort, limit, before)
        assert ids
        seen = ids + seen
        steps += 1
        assert steps < 100, "paging does not end"
    assert seen == expected


@relaxed
@given(situation=situations())
def test_there_and_back_is_the_same_page(store: Store, situation: tuple[str, list[Row], list[Row], int]) -> None:
    """next_cursor then prev_cursor gives the page one came from, and next_cursor of that the page one was on."""
    sort, owners, rows, limit = situation
    store.fill(owners, rows)
    here, following, _ = store.page(sort, limit, "")
    while following is not None:
        there, beyond, before = store.page(sort, limit, following)
        assert before is not None
        back, again, _ = store.page(sort, limit, before)
        assert back == here
        assert again is not None
        assert store.page(sort, limit, again)[0] == there
        here, following = there, beyond


@relaxed
@given(situation=situations(), data=st.data())
def test_rows_that_come_and_go_disturb_no_other(
    store: Store, situation: tuple[str, list[Row], list[Row], int], data: st.DataObject
) -> None:
    """Rows inserted or deleted while somebody pages make no other row appear twice or be missed."""
    sort, owners, rows, limit = situation
    store.fill(owners, rows)
    before = store.offset_order(sort)
    gone: set[int] = set()
    columns = [key.lstrip("-") for key in sort.split(",") if key.lstrip("-") in COLUMNS]
    left = [6]

    def disturb() -> None:
        if left[0] == 0:
            return
        left[0] -= 1
        store.add(data.draw(rows_of(columns, most=2)))
        if before and data.draw(st.booleans()):
            victim = data.draw(st.sampled_from(before))
            gone.add(victim)
            store.remove(victim)

    seen = flat(store.forward(sort, limit, disturb))
    assert len(seen) == len(set(seen))
    assert set(before) - gone <= set(seen)
    kept = [key for key in seen if key in set(before) - gone]
    assert kept == [key for key in before if key not in gone]


@relaxed
@given(column=st.sampled_from(COLUMNS), descending=st.booleans(), data=st.data())
def test_the_order_is_the_order_of_the_values(
    store: Store, column: str, descending: bool, data: st.DataObject
) -> None:
    """Values come in their natural order (text by code point), null as the largest, ties by id."""
    rows = data.draw(rows_of([column], least=2))
    store.fill([], rows)
    numbered = [(index + 1, row.get(column)) for index, row in enumerate(rows)]
    first = min(store.offset_order("id"))

    def rank(item: tuple[int, Any]) -> Any:
        value = item[1]
        if value is None:
            return (1, 0, item[0])
        return (0, value.hex if column.startswith("code") else value, item[0])

    ranked = sorted(numbered, key=rank, reverse=descending)
    expected = [number - 1 + first for number, _ in ranked]
    assert store.offset_order(("-" if descending else "") + column) == expected


@pytest.mark.parametrize("size", [1_000, 2_500])
def test_a_long_text_can_be_a_sort_key(store: Store, size: int) -> None:
    """A cursor that a page hands out is accepted, however long the text it stands on."""
    store.fill([], [dict(PLAIN) | {"text": letter * size} for letter in "caab"])
    assert flat(store.forward("text", 1)) == store.offset_order("text")


@pytest.mark.parametrize("size", [4_000, 100_000])
def test_a_text_too_long_for_a_cursor_is_refused_at_once(store: Store, size: int) -> None:
    """No page hands out a cursor that the next request could not use: it names the sort and says what to do."""
    store.fill([], [dict(PLAIN) | {"text": letter * size} for letter in "ab"])
    answer = store.client.get("/things", [("sort", "text"), ("limit", "1"), ("cursor", "")])
    assert answer.status == 400
    assert answer.json["errors"][0]["field"] == "sort"
    assert "page and limit" in answer.json["hint"]
    everything = store.client.get("/things", [("sort", "text"), ("limit", "2"), ("cursor", "")])
    assert (everything.status, len(everything.data)) == (200, 2)
