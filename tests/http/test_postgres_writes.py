"""Writes that an existing PostgreSQL database itself refuses: a refusal the caller can read, and nothing changes."""

from typing import Any

import psycopg
import pytest

from backstay import Backstay, Config, OperatorError, public, reflect
from support.asgi import Client
from support.postgres import fresh_database, rows

SQL = """
CREATE DOMAIN age AS int CHECK (VALUE >= 0);
CREATE DOMAIN word AS text CHECK (VALUE ~ '^[a-z]+$');
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, small numeric(3, 1), word word, age age, low int,
    high int, made int GENERATED ALWAYS AS (low + high) STORED, word3 varchar(3),
    CONSTRAINT t_low_check CHECK (low < high));
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF new.low = 13 THEN RAISE EXCEPTION 'thirteen is bad luck'; END IF;
    IF new.low = 0 THEN new.high := 1 / new.low; END IF;
    new.word3 := coalesce(new.word3, 'set'); RETURN new; END $$;
CREATE TRIGGER refusing BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TABLE owned (id int PRIMARY KEY, owner text NOT NULL);
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON owned USING (owner = 'writer') WITH CHECK (owner = 'writer');
INSERT INTO owned VALUES (1, 'writer'), (2, 'other');
CREATE TABLE only_insert (id int PRIMARY KEY, a int);
INSERT INTO only_insert VALUES (1, 1);
DO $$ BEGIN CREATE ROLE writer LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT ALL ON t, owned TO writer; GRANT SELECT, INSERT ON only_insert TO writer;
"""


@pytest.fixture
def client() -> Any:
    """An app of a role that owns nothing."""
    url = fresh_database()
    rows(url, SQL)
    url = url.replace("postgres@", "writer@")
    app = Backstay(
        "writes", config=Config(database_url=url, log_level="error", rate_limit="off"), schema=reflect(url)
    )
    for name in app.schema.tables:
        app.resource(name, read=public, write=public)
    with Client(app) as opened:
        yield opened
    with psycopg.connect(url.replace("writer@", "postgres@")) as connection:
        connection.execute("DROP OWNED BY writer")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"small": "100"}, 400, "small"),
        ({"word": "No"}, 400, "word"),
        ({"age": -1}, 400, "age"),
        ({"low": 2, "high": 1}, 400, "low"),
        ({"low": 13, "high": 20}, 400, "body"),
        ({"low": 0, "high": 20}, 400, "body"),
        ({"low": 2**31}, 400, "low"),
        ({"word3": "four"}, 400, "word3"),
        ({"made": 1}, 400, "made"),
        ({"id": 7}, 400, "id"),
    ],
)
def test_a_refusal_of_the_database_is_the_callers(client: Client, body: Any, status: int, field: str) -> None:
    """Domains, checks, generated columns, triggers that raise and triggers that fail."""
    row = client.post("/t", {"low": 1, "high": 2}).data
    for method, path in (("POST", "/t"), ("PATCH", f"/t/{row['id']}")):
        answer = client.request(method, path, body=body)
        assert (answer.status, answer.json["errors"][0]["field"]) == (status, field), answer.json
        assert client.get("/t").data == [row]


def test_the_answer_is_the_row_as_the_database_made_it(client: Client) -> None:
    """With what triggers and expressions set."""
    row = client.post("/t", {"low": 1, "high": 2, "small": "9.5", "word": "abc"}).data
    assert (row["made"], row["word3"], row["small"]) == (3, "set", "9.5")


def test_row_security_is_the_databases(client: Client) -> None:
    """A row that its policy hides is not there; one that it does not let in is refused."""
    assert [row["id"] for row in client.get("/owned").data] == [1]
    assert client.get("/owned/2").status == 404
    assert client.request("PATCH", "/owned/2", body={"owner": "writer"}).status == 404
    assert client.post("/owned", {"id": 3, "owner": "other"}).status in (401, 403)
    assert client.request("PATCH", "/owned/1", body={"owner": "other"}).status in (401, 403)
    assert client.post("/owned", {"id": 3, "owner": "writer"}).status == 201


def test_what_the_role_may_not_do_is_refused(client: Client) -> None:
    """A table with the privilege to insert only."""
    assert client.post("/only_insert", {"id": 2, "a": 2}).status == 201
    for method, body in (("PATCH", {"a": 3}), ("DELETE", None)):
        assert client.request(method, "/only_insert/1", body=body).status in (401, 403)
    assert [row["a"] for row in client.get("/only_insert").data] == [1, 2]


def test_a_password_is_never_said() -> None:
    """Not in the refusal of a database that is not there."""
    with pytest.raises(OperatorError) as caught:
        reflect("postgresql://ada:secret@127.0.0.1:1/x?schema=a")
    assert "secret" not in str(caught.value)
