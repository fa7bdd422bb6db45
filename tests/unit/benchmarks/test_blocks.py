"""The two blocks of servers: which servers are in them, and the tables all of them share on PostgreSQL."""

import re

import pytest
from benchmarks import __main__ as command
from benchmarks import blocks, postgres
from benchmarks.apps.backstay_app import Game
from benchmarks.process import ServerError
from sqlalchemy import UniqueConstraint
from sqlalchemy.dialects import postgresql

CREATE = re.compile(r"create table (\w+)\((.*?)\n\);", re.DOTALL)


def declared(text: str) -> dict[str, str]:
    """Return the type of each column of a `create table`'s inside."""
    found: dict[str, str] = {}
    for part in re.split(r",\s", text.strip()):
        name, kind = part.split()[:2]
        found[name] = kind
    return found


def test_postgres_tables_are_what_the_models_declare() -> None:
    """Backstay is measured on the tables its own models would make: columns, types, keys and indexes."""
    written = {name: declared(inside) for name, inside in CREATE.findall(postgres.DDL)}
    dialect = postgresql.dialect()
    short = {"TIMESTAMP WITH TIME ZONE": "timestamptz"}
    for table in Game.metadata.sorted_tables:
        kinds = {column.name: str(column.type.compile(dialect=dialect)) for column in table.columns}
        assert written.pop(table.name) == {name: short.get(kind, kind).lower() for name, kind in kinds.items()}
        for index in table.indexes:
            columns = ", ".join(column.name for column in index.columns)
            assert f"create index {index.name} on {table.name}({columns});" in postgres.DDL
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint):
                (column,) = constraint.columns
                assert f"{column.name} text not null unique" in postgres.DDL
    assert not written


@pytest.mark.parametrize(
    ("arguments", "servers"),
    [
        ([], ["backstay", "bare", "fastapi", "litestar", "django", "pocketbase", "pocketbase-nolog"]),
        (["--postgres"], ["backstay", "bare", "fastapi", "litestar", "django", "fastify", "fastify-pipelined"]),
        (["--postgres", "--peers", "fastify"], ["backstay", "bare", "fastify"]),
        (["--postgres", "--only", "fastify,bare"], ["fastify", "bare"]),
    ],
)
def test_options_choose_the_servers_of_their_block(arguments: list[str], servers: list[str]) -> None:
    """Without a choice a block runs all of its servers."""
    assert list(command.settings_of(command.parser().parse_args(arguments)).servers) == servers


@pytest.mark.parametrize("arguments", [["--only", "fastify"], ["--postgres", "--peers", "pocketbase"]])
def test_server_of_the_other_block_is_refused(arguments: list[str]) -> None:
    """The message names what can run instead."""
    with pytest.raises(ServerError, match=r"cannot run .* there are: backstay, bare"):
        command.settings_of(command.parser().parse_args(arguments))


def test_every_name_can_be_asked_for() -> None:
    """The command line knows the servers of both blocks."""
    assert set(command.KNOWN) == {*blocks.known(postgres=False), *blocks.known(postgres=True)}
