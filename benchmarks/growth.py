"""`python -m benchmarks.growth`: do the arcade's queries use its indexes, and does their time stay, as scores grow?

The same app on two databases of one PostgreSQL: 200,000 and 5,000,000 scores. For each query of the arcade's README,
and for A and B of the workload, the plan is asked for with the very statement and parameters that the app ran; then A
and B are timed, one request at a time, turn about.
"""

import argparse
import asyncio
import copy
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import pq

from backstay import Backstay
from backstay.cli.target import load_app
from backstay.testing import SECRET, create_tables
from backstay.testing.postgres import PostgresServer

ARCADE = Path(__file__).parents[1] / "examples" / "arcade" / "app.py"
SIZES = (200_000, 5_000_000)
GROWTH_MAX = 1.5
ROUNDS, BATCH = 20, 200
GAMES, PLAYERS = 100, 10_000

#: Server-side, because nothing else makes millions of rows in seconds; the mixing makes ids look random.
FILL: tuple[LiteralString, ...] = (
    "INSERT INTO users (id, username, created_at, updated_at, version) "
    "SELECT i, 'player_' || i, now(), now(), 1 FROM generate_series(1, 10000) i",
    "INSERT INTO games (id, slug, name, created_at, updated_at, version) "
    "SELECT i, 'game-' || i, 'Game ' || i, now(), now(), 1 FROM generate_series(1, 100) i",
    "INSERT INTO scores (game_id, player_id, value, created_at, updated_at, version) "
    "SELECT 1 + abs(hashint8(i)) % 100, 1 + abs(hashint8(i * 7)) % 10000, abs(hashint8(i * 13)) % 1000000, "
    "now(), now(), 1 FROM generate_series(1, {}) i",
)


@dataclass(frozen=True, slots=True)
class Query:
    """A request of the arcade and the indexes that its plan has to use.

    A hundred games fit on a page or two: their table is read whole, whatever indexes it has.
    """

    path: str
    query: str
    indexes: frozenset[str]


TOP = "ix_scores_game_id_value"
QUERIES = {
    "A: one game by its slug": Query("/api/v1/games/game-7", "", frozenset[str]()),
    "B: top scores of a game": Query(
        "/api/v1/scores",
        "game_id=7&sort=-value&limit=20&count=false&include=player&fields[player]=id,username",
        frozenset({TOP, "pk_users"}),
    ),
    "best three of a game": Query(
        "/api/v1/games/game-7",
        "fields=name&include=scores.player&sort[scores]=-value&limit[scores]=3&fields[scores]=value"
        "&fields[scores.player]=username",
        frozenset({TOP, "pk_users"}),
    ),
    "scores of a player": Query(
        "/api/v1/scores",
        "player.username=player_77&value[gte]=990000&sort=-value&include=game&fields=value&fields[game]=slug",
        frozenset({"uq_users_username", "ix_scores_player_id"}),
    ),
    "nested, by cursor": Query("/api/v1/games/game-7/scores", "sort=-value&cursor=&limit=20", frozenset({TOP})),
    "newest scores": Query("/api/v1/scores", "sort=-id&count=false&limit=20", frozenset({"pk_scores"})),
}


@dataclass(slots=True)
class Run:
    """The arcade on one database, called in this process."""

    app: Backstay
    url: str
    statement: tuple[str, Sequence[Any]] = ("", ())

    def watch(self) -> None:
        """Remember the last statement that ran."""
        engine = self.app.start().engine
        database_read: Callable[..., Any] = engine.database.read

        def read(statement: Any, parameters: Any, context: Any) -> Any:
            self.statement = statement.text, parameters
            return database_read(statement, parameters, context)

        engine._database_read = read  # pyright: ignore[reportPrivateUsage]

    async def get(self, query: Query) -> int:
        """The status of a request."""
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        scope: dict[str, Any] = {
            **{"type": "http", "method": "GET", "http_version": "1.1", "headers": []},
            **{"path": query.path, "raw_path": query.path.encode(), "query_string": query.query.encode()},
        }
        await self.app(scope, receive, send)
        return statuses[0]

    async def plan(self, query: Query) -> list[dict[str, Any]]:
        """Every node of the plan of the statement that answers a request."""
        status = await self.get(query)
        assert status == 200, f"{query.path}?{query.query} answered {status}"
        text, parameters = self.statement
        with psycopg.connect(self.url, autocommit=True) as connection:
            asked = f"EXPLAIN (FORMAT JSON) {text}".encode()
            result = connection.pgconn.exec_params(asked, list(parameters))
            assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
            return list(_nodes(json.loads(result.get_value(0, 0) or b"[]")[0]["Plan"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def faults(query: Query, nodes: Sequence[dict[str, Any]]) -> list[str]:
    """What is wrong with a plan: an index that it leaves out, or a scan of every score."""
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    found = [f"does not use {name}" for name in sorted(query.indexes - used)]
    scanned = [n for n in nodes if n["Node Type"].endswith("Seq Scan") and n.get("Relation Name") == "scores"]
    return found + ["scans every score"] * bool(scanned)


def arcade(server: PostgresServer, app: Backstay, scores: int) -> Run:
    """The app, which is not started, on a new database with so many scores."""
    url = server.create_database(f"arcade_{scores}")
    app = copy.copy(app)
    app.configure(database_url=url, secret=SECRET, log_level="error")
    create_tables(app)
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in FILL:
            connection.execute(statement.replace("{}", str(scores)).encode())
        connection.execute("VACUUM (ANALYZE)")
    run = Run(app, url)
    run.watch()
    return run


async def p50_us(runs: Sequence[Run], query: Query) -> list[float]:
    """The median time of a request on each database, measured turn about."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(ROUNDS):
        for run, taken in zip(runs, times, strict=True):
            for _ in range(BATCH):
                began = time.perf_counter()
                await run.get(query)
                taken.append(time.perf_counter() - began)
    return [1e6 * statistics.median(taken) for taken in times]


async def compare(runs: Sequence[Run], sizes: Sequence[int], say: Callable[[str], object], *, timed: bool) -> bool:
    """Print the plans' faults and the times; returns whether all is well."""
    good = True
    for name, query in QUERIES.items():
        for run, size in zip(runs, sizes, strict=True):
            found = faults(query, await run.plan(query))
            good = good and not found
            say(f"{name:26} {size:>9,} scores: {'; '.join(found) or 'by its indexes'}")
    for name in list(QUERIES)[:2] if timed else ():
        small, *_, large = await p50_us(runs, QUERIES[name])
        good = good and large < GROWTH_MAX * small
        say(f"{name:26} p50 {small:.0f} µs → {large:.0f} µs, {large / small:.2f}× (bar {GROWTH_MAX}×)")
    closing: list[Awaitable[None]] = [run.app.stop() for run in runs]
    await asyncio.gather(*closing)
    return good


def main() -> int:
    """Measure both sizes and print; exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="scores in each database")
    parser.add_argument("--plans", action="store_true", help="look at the plans, measure no times")
    given = parser.parse_args()
    sizes: list[int] = given.sizes
    folder = Path(tempfile.mkdtemp(prefix="backstay-growth-")) / "server"
    folder.parent.chmod(0o755)
    with PostgresServer(folder, settings={"shared_buffers": "1GB", "max_wal_size": "8GB"}) as server:
        runs: list[Run] = []
        app = load_app(str(ARCADE))
        for size in sizes:
            print(f"filling {size:,} scores …", file=sys.stderr, flush=True)
            runs.append(arcade(server, app, size))
        good = asyncio.run(compare(runs, sizes, print, timed=not given.plans))
    folder.parent.rmdir()
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
