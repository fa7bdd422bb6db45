"""The rows of `support.world`: few, and with a case of everything: ties, nulls, empty lists, wildcards, Unicode."""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from support.world import Base, game_tags

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
STAMPS = {"created_at": NOW, "updated_at": NOW, "version": 1}
Row = dict[str, Any]


def rows(columns: str, *values: tuple[Any, ...]) -> list[Row]:
    """Rows from tuples."""
    names = columns.split()
    return [dict(zip(names, given, strict=True)) for given in values]


USERS = rows(
    "id username name rank password boss_id",
    (1, "ada", "Ada Lovelace", 10, "hidden-1", None),
    (2, "bob", None, 10, "hidden-2", 1),
    (3, "chloé", "Chloé 𝄞", None, None, 1),
    (4, "100%_\\", "a%b", 5, None, 2),
    (5, "zoë", "A%B", None, None, None),
)
GAMES = rows(
    "id slug name price released owner_id",
    (1, "tetris", "Tetris", Decimal("9.90"), dt.date(1984, 6, 6), 1),
    (2, "pong", "Pong", Decimal("0.00"), dt.date(1972, 11, 29), 2),
    (3, "go", "Go", None, None, None),
    (4, "chess-2", "Chess", Decimal("9.90"), None, 1),
    (5, "empty", "Émpty", Decimal("100.05"), dt.date(2026, 1, 1), 5),
)
SCORES = rows(
    "id game_id player_id value note",
    (1, 1, 1, 100, "first"),
    (2, 1, 2, 100, None),
    (3, 1, 3, 50, "third"),
    (4, 2, 1, 7, None),
    (5, 2, 2, 2**53 + 1, "big"),
    (6, 3, 4, 0, ""),
    (7, 3, 1, 100, "First"),
    (8, 4, 2, 12, None),
    (9, 4, 4, 2**53 + 2, "50%"),
    (10, 1, 1, 75, "a_b"),
)
TAGS = rows("id label", (1, "classic"), (2, "puzzle"), (3, "sport"), (4, "unused"))
GAME_TAGS = rows("game_id tag_id", (1, 1), (1, 2), (2, 1), (2, 3), (4, 2))
COMMENTS = rows(
    "id body game_id author_id parent_id",
    (1, "root", 1, 1, None),
    (2, "reply", 1, 2, 1),
    (3, "reply of reply", 1, 1, 2),
    (4, "another reply", 1, None, 1),
    (5, "deepest", 1, 3, 3),
    (6, "alone", 2, None, None),
)
PAYMENTS = rows(
    "id payer_id amount",
    (1, 1, Decimal("10.5000")),
    (2, 1, Decimal("0.0001")),
    (3, 2, Decimal("99999999999.9999")),
)
TEAMS = rows("id name", (1, "red"), (2, "blue"), (3, "nobody's"))
MEMBERS = rows("id team_id user_id", (1, 1, 1), (2, 1, 2), (3, 2, 2))
SHELVES = rows(
    "user_id place title",
    (1, "attic", "Old"),
    (1, "desk", None),
    (2, "attic", "Bob's"),
    (2, "a,b/c", "odd key"),
)
BOOKS = rows(
    "isbn user_id place",
    ("111", 1, "attic"),
    ("222", 1, "attic"),
    ("333", 2, "attic"),
    ("444", None, None),
    ("x/y?z,é", 2, "a,b/c"),
)
SETTINGS = rows(
    "name value",
    ("theme", {"dark": True, "n": 2**53 + 1}),
    ("a b/c", None),
    ("ключ", {"é": "𝄞"}),
    ("aggregate", {}),
)

#: In the order of their foreign keys; the second says whether they have timestamps and a version.
TABLES: tuple[tuple[str, list[Row], bool], ...] = (
    ("users", USERS, True),
    ("games", GAMES, True),
    ("scores", SCORES, True),
    ("tags", TAGS, True),
    ("game_tags", GAME_TAGS, False),
    ("comments", COMMENTS, True),
    ("payments", PAYMENTS, True),
    ("teams", TEAMS, True),
    ("members", MEMBERS, True),
    ("shelves", SHELVES, False),
    ("books", BOOKS, False),
    ("settings", SETTINGS, False),
)


def fill(engine: sa.Engine, more: Iterable[tuple[sa.Table, list[Row]]] = ()) -> None:
    """Create every table and insert every row."""
    Base.metadata.create_all(engine)
    assert game_tags.name in Base.metadata.tables
    with engine.begin() as connection:
        for name, found, stamped in TABLES:
            table = Base.metadata.tables[name]
            for row in found:
                connection.execute(sa.insert(table), row | STAMPS if stamped else row)
        for table, found in more:
            for row in found:
                connection.execute(sa.insert(table), row | STAMPS)
