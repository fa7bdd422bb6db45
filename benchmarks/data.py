"""Deterministic rows, and the SQLite files made from them.

The rows are the same for every server; only the stored form of a timestamp and the table definitions differ.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

from benchmarks.workload import GAMES, PAGE_ROWS, SCORES, SEED, USERS, VALUE_MAX

EPOCH = datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)

DDL = """
create table users(
    id integer primary key, username varchar not null unique,
    created_at datetime not null, updated_at datetime not null, version integer not null
);
create table games(
    id integer primary key, slug varchar not null unique, name varchar not null,
    created_at datetime not null, updated_at datetime not null, version integer not null
);
create table scores(
    id integer primary key,
    game_id integer not null references games(id), player_id integer not null references users(id),
    value integer not null check (value >= 0),
    created_at datetime not null, updated_at datetime not null, version integer not null
);
create index ix_scores_game_id_value on scores(game_id, value);
create index ix_scores_player_id on scores(player_id);
"""

Stamp = Callable[[datetime], object]


def iso_stamp(moment: datetime) -> str:
    """Return the form that needs no conversion on the way to JSON."""
    return moment.isoformat(timespec="microseconds")


def orm_stamp(moment: datetime) -> str:
    """Return the form SQLAlchemy and Django store in SQLite: UTC without its offset."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def moment_of(number: int) -> datetime:
    """Return the creation time of row `number`."""
    return EPOCH + timedelta(seconds=number)


def user_rows() -> Iterator[tuple[int, str]]:
    """Yield (id, username)."""
    for number in range(1, USERS + 1):
        yield number, f"player{number:05d}"


def game_rows() -> Iterator[tuple[int, str, str]]:
    """Yield (id, slug, name)."""
    for number in range(1, GAMES + 1):
        yield number, f"game-{number:03d}", f'Game "{number}"'


def score_rows() -> Iterator[tuple[int, int, int, int]]:
    """Yield (id, game_id, player_id, value)."""
    pick = random.Random(SEED).random
    for number in range(1, SCORES + 1):
        yield number, 1 + int(pick() * GAMES), 1 + int(pick() * USERS), int(pick() * VALUE_MAX)


def top_values() -> dict[int, list[int]]:
    """Return the highest values of each game, best first: what case B must answer."""
    values: dict[int, list[int]] = {game: [] for game in range(1, GAMES + 1)}
    for _, game, _, value in score_rows():
        values[game].append(value)
    return {game: sorted(found, reverse=True)[:PAGE_ROWS] for game, found in values.items()}


def fill(connection: apsw.Connection, stamp: Stamp) -> None:
    """Insert all rows into the tables `users`, `games` and `scores`, then gather statistics."""
    with connection:
        for table, columns, rows in (
            ("users", "id, username", user_rows()),
            ("games", "id, slug, name", game_rows()),
            ("scores", "id, game_id, player_id, value", score_rows()),
        ):
            marks = ", ".join("?" * (columns.count(",") + 4))
            connection.executemany(
                f"insert into {table} ({columns}, created_at, updated_at, version) values ({marks})",
                ((*row, moment := stamp(moment_of(row[0])), moment, 1) for row in rows),
            )
    connection.execute("analyze")


def create_database(path: Path, *, ddl: str, stamp: Stamp) -> None:
    """Make one complete database file in WAL mode, with nothing left in its log."""
    connection = apsw.Connection(str(path))
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = off")  # only while making the file
    connection.execute(ddl)
    fill(connection, stamp)
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
