"""backstay.testing, used as its readers would: an app with no secret, a file that does not exist yet."""

import sys
from pathlib import Path

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, Config, ModelBase, OperatorError, has_role, public
from backstay.testing import client, create_tables, statements, token

pytestmark = pytest.mark.anyio


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""


class Thing(Base):
    name: Mapped[str]


def app_at(path: Path) -> Backstay:
    """Everybody reads, editors write."""
    app = Backstay("things", config=Config(database_url=f"sqlite:///{path / 'things.db'}", log_level="error"))
    app.resource(Thing, read=public, write=has_role("editor"))
    return app


async def test_a_client_without_its_library_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the command, no traceback of an import."""
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(OperatorError, match="pip install httpx2"):
        async with client(app_at(tmp_path)):
            pass


async def test_a_whole_test_of_an_app(tmp_path: Path) -> None:
    """Tables from nothing, a token with roles, a write, a read with its count of statements."""
    app = app_at(tmp_path)
    create_tables(app)
    create_tables(app)
    async with client(app) as http:
        refused = await http.post("/api/v1/things", json={"name": "a"})
        assert refused.status_code == 401
        headers = {"authorization": f"Bearer {token(7, ['editor'])}"}
        assert (await http.post("/api/v1/things", json={"name": "a"}, headers=headers)).status_code == 201
        response = await http.get("/api/v1/things", params={"name": "a"})
        assert response.json()["meta"]["total"] == 1
        assert statements(response) == 1


async def test_default_headers_and_a_second_client(tmp_path: Path) -> None:
    """Leaving a client stops the app; another one starts it again on the same rows."""
    app = app_at(tmp_path)
    create_tables(app)
    async with client(app, headers={"authorization": f"Bearer {token('x', ['editor'])}"}) as http:
        assert (await http.post("/api/v1/things", json={"name": "a"})).status_code == 201
    async with client(app) as http:
        assert (await http.post("/api/v1/things", json={"name": "a"})).status_code == 401
        assert len((await http.get("/api/v1/things")).json()["data"]) == 1


async def test_a_count_of_statements_needs_one_of_our_answers(tmp_path: Path) -> None:
    """A response of something else is refused, not counted as none."""
    import httpx2

    with pytest.raises(ValueError, match="Backstay"):
        statements(httpx2.Response(200))
