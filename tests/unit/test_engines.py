"""Engines of SQLAlchemy for any URL: what cannot be used is one line without a password, then what they promise."""

import builtins
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backstay.config import Config
from backstay.context import Context
from backstay.db.engines import backend_of, create_sync_engine, display_url
from backstay.db.sessions import Sessions
from backstay.errors import OperatorError, Problem
from support.postgres import fresh_database, postgres_server, rows


@pytest.fixture(scope="module")
def with_password() -> Iterator[str]:
    """The URL of a database whose user has a password."""
    server = postgres_server()
    access = server.folder / "data" / "pg_hba.conf"
    before = access.read_text()
    access.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
    rows(server.url(), "CREATE ROLE guarded LOGIN PASSWORD 'right-one'", "SELECT pg_reload_conf()")
    time.sleep(0.2)
    yield fresh_database().replace("postgres@", "guarded:right-one@")
    access.write_text(before)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with a table of one row."""
    made = fresh_database() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'test.db'}"
    engine = create_sync_engine(made, write=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    engine.dispose()
    return made


def refusal(url: str) -> str:
    """What connecting says."""
    with pytest.raises(OperatorError) as caught:
        create_sync_engine(url).connect()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "The database URL cannot be read: write sqlite:///file.db or postgresql://user@host/database."),
        ("postgresql://u:se:cret@h:port/d", "The database URL cannot be read"),
        ("mysql://h/d", "mysql:// is not supported"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg:// is not supported"),
    ],
)
def test_a_url_that_is_none_of_ours_is_refused(url: str, message: str) -> None:
    """Before anything connects."""
    with pytest.raises(OperatorError) as caught:
        create_sync_engine(url)
    assert str(caught.value).startswith(message)
    assert "cret" not in str(caught.value)


def test_an_unreachable_server_is_one_line() -> None:
    """It says where it was looked for, and why it is not there."""
    assert refusal("postgresql://ada:secret@127.0.0.1:1/shop") == (
        "Cannot reach PostgreSQL at ada@127.0.0.1:1/shop (Connection refused): "
        "start it, or mend BACKSTAY_DATABASE_URL."
    )
    assert "(failed to resolve host 'nowhere.invalid'" in refusal("postgresql://ada:secret@nowhere.invalid/shop")


def test_a_missing_database_is_one_line() -> None:
    """And how it is made."""
    assert "has no database 'nowhere'" in refusal(postgres_server().url("nowhere"))
    assert "createdb nowhere" in refusal(postgres_server().url("nowhere"))


def test_a_wrong_password_is_one_line(with_password: str) -> None:
    """It is not repeated, wherever it stands in the URL."""
    right = create_sync_engine(with_password)
    right.connect().close()
    right.dispose()
    for url in (
        with_password.replace("right-one", "wrong-one"),
        with_password.replace(":right-one", ""),
        with_password.replace(":right-one", "") + "?password=wrong-one",
    ):
        said = refusal(url)
        assert said.startswith("PostgreSQL refuses the password, or misses one, for guarded@127.0.0.1:")
        assert "wrong-one" not in said
    assert "has no user 'nobody_such'" in refusal(with_password.replace("guarded:right-one@", "nobody_such@"))


def test_a_missing_driver_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite works without it."""
    real: Any = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name == "psycopg":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OperatorError, match=r"pip install 'backstay\[postgres\]'"):
        create_sync_engine("postgresql://h/d")


def test_an_engine_for_reading_refuses_to_write(url: str) -> None:
    """The database itself refuses, whatever the statement looks like."""
    engine = create_sync_engine(url)
    with engine.connect() as connection, pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
        connection.exec_driver_sql("DELETE FROM t")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT a FROM t").scalar() == 1
    engine.dispose()


def test_times_are_in_utc() -> None:
    """Whatever the server or the user's setting says."""
    url = fresh_database()
    rows(url, f"ALTER DATABASE {url.rpartition('/')[2]} SET timezone = 'Asia/Tokyo'")
    engine = create_sync_engine(url, on_connect=lambda c: seen.append(c.info.dbname))
    seen: list[str] = []
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
        assert connection.exec_driver_sql("SELECT '2026-01-01 00:00+09'::timestamptz::text").scalar() == (
            "2025-12-31 15:00:00+00"
        )
    engine.dispose()
    assert seen == [url.rpartition("/")[2]]


def test_what_may_be_shown_of_a_url() -> None:
    """No password, no options."""
    assert display_url("postgres://ada:secret@h:1/d?password=secret") == "ada@h:1/d"
    assert display_url("postgresql:///d?host=/run/postgresql") == "/run/postgresql/d"
    assert display_url("sqlite:////var/a.db") == "/var/a.db"
    assert [backend_of(u) for u in ("sqlite+apsw:///a", "postgresql+psycopg://h/d")] == ["sqlite", "postgresql"]


@pytest.mark.anyio
async def test_sessions_read_and_count_and_do_not_write(url: str) -> None:
    """On both databases alike; `async with` gives the connection back."""
    sessions = Sessions(Config(database_url=url, request_timeout_s=0.5))
    context = Context("test")
    for _ in range(30):
        async with sessions.open(context) as session:
            assert await session.scalar(sa.text("SELECT a FROM t")) == 1
    assert context.statements == 30
    async with sessions.open() as session:
        with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
            await session.execute(sa.text("DELETE FROM t"))
    await sessions.close()


@pytest.mark.anyio
async def test_a_session_on_postgresql_cannot_hang() -> None:
    """A statement ends with the request's deadline, and a server that is gone is 503."""
    url = fresh_database()
    sessions = Sessions(Config(database_url=url, request_timeout_s=0.2))
    async with sessions.open() as session:
        with pytest.raises(sa.exc.OperationalError, match="statement timeout"):
            await session.execute(sa.text("SELECT pg_sleep(5)"))
    # The server ends the connections that wait in the pool: the next session gets a new one.
    rows(
        postgres_server().url(),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
    )
    async with sessions.open() as session:
        assert await session.scalar(sa.text("SELECT 1")) == 1
    await sessions.close()
    gone = Sessions(Config(database_url="postgresql://h:secret@127.0.0.1:1/d"))
    async with gone.open() as session:
        with pytest.raises(Problem) as caught:
            await session.execute(sa.text("SELECT 1"))
    assert (caught.value.code, "secret" in str(caught.value)) == ("UNAVAILABLE", False)
