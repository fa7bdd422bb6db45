"""The OpenAPI document: valid, complete, exact about what the server accepts, and the same every time."""

import datetime as dt
import enum
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import jsonschema_rs
import orjson
import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import Field, StringConstraints
from pydantic import ValidationError as PydanticError
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay import Backstay
from backstay.config import Config
from backstay.context import Context
from backstay.errors import ValidationError
from backstay.query import values
from backstay.query.ir import Aggregate
from backstay.query.payload import Action, Contract
from backstay.query.plan import Form
from backstay.query.planner import Planner
from backstay.rest import params
from backstay.rest.batch import BatchBody
from backstay.rest.idempotency import Idempotency
from backstay.rest.openapi import document
from backstay.rest.openapi_access import open_to_all
from backstay.rest.openapi_parameters import list_schema
from backstay.rest.openapi_schemas import Components, body_schema, singular, value_schema, wire_schema
from backstay.rest.routes import route_table
from backstay.schema.base import NAMING, ModelBase, UuidKey
from backstay.schema.declare import schema_of
from backstay.schema.model import Kind
from backstay.schema.policy import Policy, Standing, has_role, me, nobody, public, signed_in
from backstay.schema.resource import Catalog, Resource, natural_key

METHODS = {"get", "post", "put", "patch", "delete"}
CONFIG = Config()


class Base(ModelBase, DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)


class Color(enum.Enum):
    red = 1
    blue = 2


tagged = sa.Table(
    "tagged",
    Base.metadata,
    sa.Column("game_id", sa.ForeignKey("games.id"), primary_key=True),
    sa.Column("tag_id", sa.ForeignKey("tags.id"), primary_key=True),
)


class Player(Base):
    """Someone who plays."""

    username: Mapped[Annotated[str, StringConstraints(min_length=3)]] = mapped_column(unique=True, doc="Public.")
    secret: Mapped[str | None]
    scores: Mapped[list["Score"]] = relationship(back_populates="player")


class Tag(Base):
    name: Mapped[str] = mapped_column(unique=True)
    games: Mapped[list["Game"]] = relationship(secondary=tagged, back_populates="tags")


class Game(Base):
    """A game"""

    slug: Mapped[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$")]] = mapped_column(unique=True)
    name: Mapped[str]
    scores: Mapped[list["Score"]] = relationship(back_populates="game")
    tags: Mapped[list[Tag]] = relationship(secondary=tagged, back_populates="games")


class Score(Base):
    game_id: Mapped[int] = mapped_column(ForeignKey("games.id"))
    player_id: Mapped[int] = mapped_column(ForeignKey("players.id"))
    value: Mapped[Annotated[int, Field(ge=5)]]
    game: Mapped[Game] = relationship(back_populates="scores")
    player: Mapped[Player] = relationship(back_populates="scores")


class Thing(UuidKey, Base):
    note: Mapped[str | None] = mapped_column(sa.String(50))
    price: Mapped[Decimal]
    money: Mapped[Annotated[Decimal, Field(ge=0)] | None] = mapped_column(sa.Numeric(10, 2))
    ratio: Mapped[float | None]
    at: Mapped[dt.datetime | None]
    day: Mapped[dt.date]
    clock: Mapped[dt.time | None]
    ref: Mapped[uuid.UUID | None]
    blob: Mapped[bytes | None]
    data: Mapped[dict[str, Any] | None]
    color: Mapped[Color]
    ok: Mapped[bool] = mapped_column(default=False)
    small: Mapped[Annotated[int, Field(ge=0, le=5)]] = mapped_column(sa.SmallInteger)
    limit: Mapped[int | None]


class Pair(Base):
    id = None  # type: ignore[assignment]
    left: Mapped[int] = mapped_column(primary_key=True)
    right: Mapped[str] = mapped_column(primary_key=True)


class Plain(DeclarativeBase):
    """A registry whose models have no key of their own making."""


class Entry(Plain):
    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


MODELS = (Player, Tag, Game, Score, Thing, Pair)
OWN = Score.player_id == me.id
POLICIES = {
    "players": Policy(read=public, update=has_role("admin")),
    "tags": Policy(read=public),
    "games": Policy(public, public, public, public),
    "scores": Policy(read=public, create=signed_in, update=OWN, delete=has_role("admin"), stamp={"player_id": me.id}),
    "things": Policy(signed_in, public, public, public),
    "pairs": Policy(public, public, public, public),
}
HIDDEN = {"players": frozenset({"secret"})}


def catalog(**policies: Policy) -> Catalog:
    """The sample's resources, with other policies for some."""
    schema = schema_of(MODELS)
    rules = POLICIES | policies
    resources = {name: resource(name, table, rules[name]) for name, table in schema.tables.items()}
    return Catalog(schema, resources)


def resource(name: str, table: Any, policy: Policy) -> Resource:
    """One resource; games go by their slug."""
    key = natural_key(table, ("slug",) if name == "games" else table.key)
    return Resource(name, table, key, policy, HIDDEN.get(name, frozenset()))


def made(config: Config = CONFIG, *, of: Catalog | None = None, **options: Any) -> dict[str, Any]:
    """The document of the sample, whose answers are kept."""
    return document(of or catalog(), config, **{"title": "sample", "version": "1.0.0", "kept": True, **options})


DOCUMENT = made()


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of a document."""
    for path, item in found["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield method, path, operation


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every object inside."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def resolved(node: dict[str, Any], found: dict[str, Any] = DOCUMENT) -> dict[str, Any]:
    """The node behind a reference."""
    while "$ref" in node:
        target: Any = found
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def validator(schema: dict[str, Any], found: dict[str, Any] = DOCUMENT) -> jsonschema_rs.Validator:
    """A validator that knows the components."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": found["components"]}
    return jsonschema_rs.validator_for(whole | {"allOf": [schema]}, validate_formats=True)


def parameters(path: str, found: dict[str, Any] = DOCUMENT) -> dict[str, dict[str, Any]]:
    """The query parameters of a GET by name."""
    listed = (resolved(p, found) for p in found["paths"][path]["get"]["parameters"])
    return {p["name"]: p for p in listed if p["in"] == "query"}


def test_is_valid_openapi_3_1() -> None:
    """The metaschema of OpenAPI 3.1 and that of JSON Schema 2020-12 accept it."""
    assert DOCUMENT["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for node in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": DOCUMENT["jsonSchemaDialect"], **node})


def test_no_reference_dangles() -> None:
    """Every $ref leads to a component that is there."""
    for node in walk(DOCUMENT):
        if "$ref" in node:
            assert resolved(node)


def test_every_component_is_used() -> None:
    """Nothing is carried along that no operation needs."""
    used = {node["$ref"] for node in walk(DOCUMENT) if "$ref" in node}
    there = {
        f"#/components/{section}/{name}"
        for section, parts in DOCUMENT["components"].items()
        for name in parts
        if section != "securitySchemes"
    }
    assert there == used


def test_covers_exactly_the_routes() -> None:
    """What the router serves is what the document says, no more and no less."""
    served = {(route.method, route.path) for route in route_table(catalog(), CONFIG, kept=True)}
    told = {(method.upper(), path) for method, path, _ in operations(DOCUMENT) if path.startswith(CONFIG.base_path)}
    assert told == served
    assert {"/health/live", "/health/ready", "/metrics", "/openapi.json"} <= DOCUMENT["paths"].keys()


def test_every_operation_is_told_in_full() -> None:
    """Unique id, known tag, summary, description, security and problems."""
    ids = [operation["operationId"] for _, _, operation in operations(DOCUMENT)]
    assert len(set(ids)) == len(ids)
    assert {"listGames", "createGame", "getGame", "updateGame", "replaceGame", "deleteGame"} <= set(ids)
    assert {"aggregateGames", "listGameScores", "createGameScore"} <= set(ids)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for _, _, operation in operations(DOCUMENT):
        assert set(operation["tags"]) <= tags
        assert operation["summary"]
        assert operation["description"]
        assert "security" in operation
        assert {"401", "414", "500"} <= operation["responses"].keys()


def test_parameters_are_unique_and_complete() -> None:
    """A name occurs once in an operation; every template has its parameter."""
    for _, path, operation in operations(DOCUMENT):
        item = DOCUMENT["paths"][path]
        listed = [resolved(p) for p in [*item.get("parameters", []), *operation.get("parameters", [])]]
        names = [(p["in"], p["name"]) for p in listed]
        assert len(set(names)) == len(names)
        assert {n for where, n in names if where == "path"} == set(re.findall(r"{(\w+)}", path))


def test_examples_fit_their_schemas() -> None:
    """Each example of a body, an answer or a problem is valid, and there is one wherever a body is."""
    for method, path, operation in operations(DOCUMENT):
        bodies = [resolved(response) for response in operation["responses"].values()]
        bodies += [operation["requestBody"]] if "requestBody" in operation else []
        for body in bodies:
            for media, content in body.get("content", {}).items():
                examples = [content["example"]] if "example" in content else []
                examples += [example["value"] for example in content.get("examples", {}).values()]
                assert examples or media == "text/plain" or path == "/openapi.json", (method, path)
                for example in examples:
                    validator(content["schema"]).validate(example)


def test_body_examples_pass_their_contracts() -> None:
    """The example of a body is one that the server takes."""
    bodies = DOCUMENT["paths"]["/api/v1/things"]["post"]["requestBody"]["content"]["application/json"]
    contract = Contract(catalog().resources["things"], Action.CREATE)
    assert contract.validate(orjson.dumps(bodies["example"]))["color"] == "red"


def test_is_the_same_every_time() -> None:
    """Two runs give equal bytes, order included."""
    assert json.dumps(made()) == json.dumps(DOCUMENT)


def test_hidden_columns_stay_hidden() -> None:
    """A hidden column has no parameter, no member and no word."""
    assert "secret" not in json.dumps({p: i for p, i in DOCUMENT["paths"].items() if "player" in p})
    assert "secret" not in json.dumps(DOCUMENT["components"])


ACCESS = [
    ("get", "/api/v1/games", True),
    ("get", "/api/v1/things", False),
    ("post", "/api/v1/scores", False),
    ("patch", "/api/v1/scores/{key}", False),
    ("delete", "/api/v1/scores/{key}", False),
    ("patch", "/api/v1/players/{key}", False),
    ("post", "/api/v1/games", True),
]


@pytest.mark.parametrize(("method", "path", "anonymous"), ACCESS)
def test_security_follows_the_rules(method: str, path: str, anonymous: bool) -> None:
    """Who may be anonymous is read off the rules; a credential without scope is refused everywhere."""
    operation = DOCUMENT["paths"][path][method]
    bearer = {"bearerAuth": []}
    assert operation["security"] == ([{}, bearer] if anonymous else [bearer])
    assert {"401", "403"} <= operation["responses"].keys()


def test_statuses_follow_the_method() -> None:
    """Writes can conflict, bodies be refused, rows be missing; 304 is for reads."""
    item = DOCUMENT["paths"]["/api/v1/games/{key}"]
    assert {"200", "304", "404"} <= item["get"]["responses"].keys()
    assert {"200", "404", "409", "413", "415"} <= item["put"]["responses"].keys()
    assert {"204", "404", "409"} <= item["delete"]["responses"].keys()
    assert not {"304", "413", "415"} & item["delete"]["responses"].keys()
    created = DOCUMENT["paths"]["/api/v1/games"]["post"]["responses"]["201"]
    assert {"Location", "ETag"} <= created["headers"].keys()
    assert "404" not in DOCUMENT["paths"]["/api/v1/games"]["get"]["responses"]


def test_every_write_may_be_sent_again() -> None:
    """With a key: it has a schema, an answer that says so and the refusals; no read has one."""
    for method, path, operation in operations(DOCUMENT):
        names = {resolved(p)["name"] for p in operation.get("parameters", [])}
        unsafe = method in ("post", "put", "patch", "delete")
        assert ("Idempotency-Key" in names) == unsafe, (method, path)
        assert ({"409", "422"} <= operation["responses"].keys()) == unsafe
        done = [resolved(part) for status, part in operation["responses"].items() if status in ("200", "201", "204")]
        assert done
        assert all(("Idempotency-Replayed" in part["headers"]) == unsafe for part in done)
    codes = {
        status: DOCUMENT["components"]["responses"][name]["content"]["application/problem+json"]["examples"].keys()
        for status, name in ((409, "Conflict"), (422, "UnprocessableContent"))
    }
    assert "IDEMPOTENCY_IN_PROGRESS" in codes[409]
    assert "IDEMPOTENCY_KEY_REUSED" in codes[422]


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("k", True),
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', True),
        ("k" * 255, True),
        ("k" * 256, False),
        ("", False),
        ("two words", False),
        ('a"b', False),
        ("a\\b", False),
        ("é", False),
    ],
)
def test_keys_are_what_the_server_takes(key: str, fits: bool) -> None:
    """The schema of an Idempotency-Key is as strict as the code that reads it."""
    schema = DOCUMENT["components"]["parameters"]["Idempotency-Key"]["schema"]
    assert validator(schema).is_valid(key) == fits
    context = Context("test")
    try:
        Idempotency(None).claim_of(context, key.encode(), b"")  # type: ignore[arg-type]
    except ValidationError:
        assert not fits
    else:
        assert fits


def test_what_keeps_no_answers_offers_neither_keys_nor_batches() -> None:
    """An existing database has no place for them."""
    text = json.dumps(made(kept=False))
    assert 'Idempotency-Key"' not in text
    assert "batch" not in text


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"operations": [{"method": "GET", "path": "/games"}]}, True),
        ({"operations": [{"method": "GET", "path": "/games", "body": None, "id": None, "headers": None}]}, True),
        ({"operations": [{"method": "POST", "path": "/games", "body": {"a": [{"$ref": "b.c"}]}}]}, True),
        ({"operations": [{"method": "PUT", "path": "/a", "headers": {"If-Match": "*"}}], "dry_run": True}, True),
        ({}, False),
        ({"operations": []}, False),
        ({"operations": [{"method": "GET", "path": "/a"}] * 101}, False),
        ({"operations": [{"method": "HEAD", "path": "/a"}]}, False),
        ({"operations": [{"method": "GET", "path": "a"}]}, False),
        ({"operations": [{"method": "GET", "path": "/a b"}]}, False),
        ({"operations": [{"method": "GET", "path": "/a", "id": "1a"}]}, False),
        ({"operations": [{"method": "GET", "path": "/a", "body": []}]}, False),
        ({"operations": [{"method": "GET", "path": "/a", "headers": {"Accept": "x"}}]}, False),
        ({"operations": [{"method": "GET", "path": "/a"}], "dry_run": 1}, False),
        ({"operations": [{"method": "GET", "path": "/a"}], "more": 1}, False),
    ],
)
def test_batches_are_what_the_server_takes(body: dict[str, Any], fits: bool) -> None:
    """The schema in the document and the model that reads a batch agree."""
    assert validator({"$ref": "#/components/schemas/BatchBody"}).is_valid(body) == fits
    try:
        BatchBody.model_validate(body)
    except PydanticError:
        assert not fits
    else:
        assert fits


def test_rules_about_the_row_alone_are_open() -> None:
    """A comparison with `me` needs a principal; `or` with the public does not."""
    assert not open_to_all(OWN)
    assert open_to_all(Score.value > 3)
    assert open_to_all(sa.or_(Score.value > 3, OWN))
    assert not open_to_all(sa.and_(Score.value > 3, OWN))
    assert not open_to_all(nobody)


def test_choices_with_commas_admit_exactly_themselves() -> None:
    """A list of them is one text; nothing that is no choice fits."""
    base = catalog().resources["things"].columns["color"]
    column = replace(base, choices=("a", "b,c", 'd"', ""))
    schema = validator(list_schema(column))
    for good in ("a", '"b,c",a', '"d\\""', "", '"",a', " a , a "):
        assert schema.is_valid(good), good
        values.parse_list(column, good)
    for bad in ("b,c", "x", '"x"', "a;a", 'd"'):
        assert not schema.is_valid(bad), bad
        with pytest.raises(ValueError):
            values.parse_list(column, bad)


SCALARS = [
    ("id", "0192f0c1-7b5e-7cc0-8000-0123456789ab", "0192f0c1"),
    ("price", "-12.5", "twelve"),
    ("price", "1e3", "1,5"),
    ("ratio", 1.5, "fast"),
    ("at", "2026-11-21T01:34:00Z", "yesterday"),
    ("day", "2026-11-21", "2026-13-01"),
    ("clock", "01:34:00.5", "25:00"),
    ("color", "red", "green"),
    ("ok", True, "maybe"),
    ("small", 32767, 32768),
    ("limit", 2**63 - 1, 2**63),
    ("note", "any\ntext", "no\0nul"),
]


@pytest.mark.parametrize(("name", "good", "bad"), SCALARS)
def test_filter_schemas_admit_what_the_server_reads(name: str, good: Any, bad: Any) -> None:
    """A filter's schema and its parser accept and refuse the same."""
    column = catalog().resources["things"].columns[name]
    schema = validator(value_schema(column))
    assert schema.is_valid(good)
    assert not schema.is_valid(bad)
    text = str(good).lower() if isinstance(good, bool) else str(good)
    values.parse(column, text)
    with pytest.raises(ValueError):
        values.parse(column, str(bad))


BODIES = [
    ({"small": 6}, False),
    ({"small": "5"}, False),
    ({"small": None}, False),
    ({"note": None}, True),
    ({"note": "x" * 51}, False),
    ({"price": "1.2345"}, True),
    ({"price": 1.5}, True),
    ({"price": "1.23456"}, False),
    ({"price": "123456789012"}, False),
    ({"price": True}, False),
    ({"money": "-1.00"}, False),
    ({"money": -1}, False),
    ({"blob": "aGVsbG8="}, True),
    ({"blob": "a"}, False),
    ({"ref": "x"}, False),
    ({"color": "red"}, True),
    ({"color": "RED"}, False),
    ({"data": {"a": [1, None, "b"]}}, True),
    ({"at": "2026-11-21T01:34:00Z"}, True),
    ({"day": "2026-02-30"}, False),
    ({"version": 1}, False),
    ({"unknown": 1}, False),
    ({}, True),
]


@pytest.mark.parametrize(("body", "fits"), BODIES)
def test_body_schemas_admit_what_the_contract_admits(body: dict[str, Any], fits: bool) -> None:
    """A body's schema and its contract accept and refuse the same."""
    contract = Contract(catalog().resources["things"], Action.UPDATE)
    components = Components()
    schema = body_schema(contract, components)
    assert validator(schema, {"components": components.sections}).is_valid(body) is fits
    if fits:
        contract.validate(orjson.dumps(body))
    else:
        with pytest.raises(ValidationError):
            contract.validate(orjson.dumps(body))


def test_bodies_refuse_nul() -> None:
    """NUL is refused in text, in JSON and in names inside JSON."""
    schema = validator({"$ref": "#/components/schemas/ThingUpdate"})
    assert schema.is_valid({"note": "a", "data": {"a": "b"}})
    for body in ({"note": "\0"}, {"data": "\0"}, {"data": {"\0": 1}}, {"data": [{"a": ["\0"]}]}):
        assert not schema.is_valid(body)


def test_a_replacement_may_carry_what_the_server_sets() -> None:
    """A row can be sent back as it was read; a change may not name those fields."""
    schemas = DOCUMENT["components"]["schemas"]
    assert {"id", "version", "created_at"} <= schemas["ThingReplace"]["properties"].keys()
    assert not {"id", "version", "created_at"} & schemas["ThingUpdate"]["properties"].keys()
    assert "required" not in schemas["ThingUpdate"]


def test_bodies_lack_what_others_set() -> None:
    """Stamped columns are in no body; a nested create lacks what its path sets."""
    schemas = DOCUMENT["components"]["schemas"]
    assert "player_id" not in schemas["ScoreCreate"]["properties"]
    assert schemas["ScoreCreate"]["required"] == ["game_id", "value"]
    assert schemas["GameScoreCreate"]["required"] == ["value"]
    assert "game_id" not in schemas["GameScoreCreate"]["properties"]


def test_rows_show_exact_wire_forms() -> None:
    """Numerics are strings of their scale; nothing is required; nothing else may appear."""
    row = DOCUMENT["components"]["schemas"]["Thing"]
    assert row["additionalProperties"] is False
    assert "required" not in row
    schema = validator({"$ref": "#/components/schemas/Thing"})
    assert schema.is_valid({"price": "1.0000", "money": None, "clock": "01:34:00.000000"})
    for wrong in ({"price": 1}, {"price": "1.00"}, {"price": None}, {"money": "1.0"}, {"other": 1}):
        assert not schema.is_valid(wrong)


def test_related_rows_are_optional_members() -> None:
    """A to-one relation is a row or null, a to-many one an array of rows."""
    score = validator({"$ref": "#/components/schemas/Score"})
    assert score.is_valid({"game": None})
    assert score.is_valid({"game": {"slug": "tetris", "scores": [{"id": 1}]}})
    assert not score.is_valid({"game": []})
    assert not validator({"$ref": "#/components/schemas/Game"}).is_valid({"scores": None})


@pytest.mark.parametrize("kind", list(Kind))
def test_loose_columns_promise_only_what_the_sql_makes_sure_of(kind: Kind) -> None:
    """A column of an existing file may hold null and text whatever it declares."""
    base = catalog().resources["things"].columns["note"]
    column = replace(base, kind=kind, loose=True, nullable=False, choices=("a",))
    schema = jsonschema_rs.validator_for(wire_schema(column))
    assert schema.is_valid(None)
    assert schema.is_valid("text") or kind is Kind.BOOLEAN


def test_reserved_words_are_filtered_by_operator() -> None:
    """A column called like a word of the grammar keeps its filters and does not shadow the word."""
    found = parameters("/api/v1/things")
    assert found["limit"]["schema"]["maximum"] == CONFIG.page_limit_max
    assert found["limit[eq]"]["schema"]["maximum"] == 2**63 - 1


@pytest.mark.parametrize("word", params.LIST_WORDS)
def test_no_column_takes_a_word_of_the_grammar(word: str) -> None:
    """Its filter by equality is written with the operator, as the server reads it; the word stays the word."""

    class Own(ModelBase, DeclarativeBase):
        """A registry of its own."""

    members = {"__tablename__": "rows", "__annotations__": {word: Mapped[str]}, "__doc__": "Rows."}
    model: Any = type("Row", (Own,), members)
    app = Backstay("words")
    app.resource(model, read=public)
    made = app.openapi()
    listed = [resolved(p, made)["name"] for p in made["paths"]["/api/v1/rows"]["get"]["parameters"]]
    assert f"{word}[eq]" in listed
    assert listed.count(word) <= 1


def test_composite_keys_are_joined_by_commas() -> None:
    """The path parameter is a list of the parts, which OpenAPI's `simple` style joins."""
    parameter = DOCUMENT["paths"]["/api/v1/pairs/{key}"]["parameters"][0]
    schema = validator(parameter["schema"])
    assert parameter["style"] == "simple"
    assert schema.is_valid([7, "le,ft"])
    for wrong in ([7], [7, "left", 1], ["x", "left"], [7, ""], "7,left"):
        assert not schema.is_valid(wrong)


def test_keys_have_their_columns_type() -> None:
    """An integer key is an integer or its digits, a UUID a UUID."""
    key = validator(DOCUMENT["paths"]["/api/v1/scores/{key}"]["parameters"][0]["schema"])
    for good in (7, "7", "-007", 2**63 - 1, str(2**63 - 1), "9223372036854775799", "1" * 19):
        assert key.is_valid(good), good
    for bad in (2**63, str(2**63), "9223372036854775808", "92" * 10, "", "seven", "7.0", "1e3", None, True):
        assert not key.is_valid(bad), bad
    assert DOCUMENT["paths"]["/api/v1/things/{key}"]["parameters"][0]["schema"]["format"] == "uuid"


def test_limits_come_from_the_config() -> None:
    """Page sizes, the base path and the depth of includes are the configured ones."""
    found = made(Config(page_limit=7, page_limit_max=9, base_path="/v2", include_depth_max=1))
    limit = parameters("/v2/scores", found)["limit"]["schema"]
    assert (limit["default"], limit["maximum"]) == (7, 9)
    assert parameters("/v2/scores", found)["include"]["schema"]["items"]["enum"] == ["game", "player"]


def test_a_table_without_key_is_only_listed() -> None:
    """No item path, no writes, no cursor."""
    schema = schema_of([Entry])
    table = replace(schema.tables["entries"], key=(), read_only=True, note="It has no key.")
    lone = Catalog(schema, {"entries": Resource("entries", table, (), Policy(public, public, public, public))})
    found = made(of=lone)
    under = {path for path in found["paths"] if path.startswith("/api/v1")}
    assert under == {"/api/v1/entries", "/api/v1/entries/aggregate"}
    assert set(found["paths"]["/api/v1/entries"]) == {"get"}
    assert "cursor" not in parameters("/api/v1/entries", found)
    assert "It has no key." in found["tags"][0]["description"]


def test_success_flag_is_part_of_every_envelope() -> None:
    """With `envelope="success"` answers and problems carry it, in schemas and examples."""
    found = made(success_flag=True)
    page = found["paths"]["/api/v1/games"]["get"]["responses"]["200"]["content"]["application/json"]
    assert page["example"]["success"] is True
    assert "success" in page["schema"]["required"]
    assert found["components"]["schemas"]["Problem"]["properties"]["success"] == {"const": False}
    assert "success" not in json.dumps(DOCUMENT["components"]["schemas"]["Problem"])


def test_colliding_names_get_numbers() -> None:
    """Two resources of one model, or a model called like a shared part, keep apart."""
    schema = schema_of(MODELS)
    tables = schema.tables
    names = {"games": "games", "old-games": "games", "problem": "tags"}
    twins = Catalog(
        schema,
        {n: Resource(n, tables[t], natural_key(tables[t], ("id",)), POLICIES["games"]) for n, t in names.items()},
    )
    found = made(of=twins)
    assert {"Game", "Game2", "Tag"} <= found["components"]["schemas"].keys()
    ids = [operation["operationId"] for _, _, operation in operations(found)]
    assert len(set(ids)) == len(ids)
    assert {"getGame", "getGame2"} <= set(ids)


CUSTOM = {
    "openapi": "3.1.0",
    "paths": {
        "/api/v1/games": {"get": {"operationId": "shadowed", "responses": {}}},
        "/api/v1/games/{slug}/finish": {
            "post": {
                "operationId": "listGames",
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Game"}}}}
                },
            }
        },
    },
    "components": {"schemas": {"Game": {"type": "string"}, "Result": {"$ref": "#/components/schemas/Game"}}},
}


def test_custom_endpoints_join_without_collisions() -> None:
    """Their paths and parts are added; taken names get a number and the references follow; generated ones win."""
    before = json.dumps(CUSTOM)
    found = made(custom=CUSTOM)
    schemas = found["components"]["schemas"]
    assert schemas["Game"] == DOCUMENT["components"]["schemas"]["Game"]
    assert schemas["Game2"] == {"type": "string", "maxLength": CONFIG.result_bytes_max}
    assert schemas["Result"] == {"$ref": "#/components/schemas/Game2"}
    assert found["paths"]["/api/v1/games"]["get"]["operationId"] == "listGames"
    joined = found["paths"]["/api/v1/games/{slug}/finish"]["post"]
    assert joined["operationId"] == "listGames2"
    content = joined["responses"]["200"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/Game2"}
    assert json.dumps(CUSTOM) == before, "the custom document is left as it was"


PATTERNED = [
    (path, name)
    for path in ("/api/v1/scores", "/api/v1/things", "/api/v1/games")
    for name in ("sort", "or", "and", "fields", "include", "created_at[in]", "note[in]", "small[nin]", "color[in]")
    if name in parameters(path)
]
MEASURED = [(f"/api/v1/{name}/aggregate", "select") for name in ("scores", "things")]
MEASURED += [("/api/v1/scores/aggregate", "group")]


def texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    """Texts that a parameter's schema admits, as they stand in a URL."""
    if schema["type"] == "array":
        items = schema["items"]
        small = items.get("type") == "integer"
        if "enum" in items:
            item = st.sampled_from(items["enum"])
        elif small:
            item = st.integers(items["minimum"], items["maximum"]).map(str)
        elif items.get("format") == "date-time":
            item = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1)).map(lambda d: d.isoformat() + "Z")
        else:
            item = st.from_regex(items["pattern"], fullmatch=True)
        unique = bool(schema.get("uniqueItems"))
        return st.lists(item, min_size=1, max_size=4, unique=unique).map(",".join)
    return st.from_regex(schema["pattern"], fullmatch=True).filter(validator(schema).is_valid)


@pytest.mark.parametrize(("path", "name"), PATTERNED + MEASURED)
def test_what_the_grammar_parameters_admit_is_planned(path: str, name: str) -> None:
    """Whatever the schema of a grammar parameter admits, the parser, the planner and the values accept."""
    resource = path.split("/")[3]
    parse = params.parse_aggregate if path.endswith("aggregate") else params.parse_list
    planner = Planner(catalog(), CONFIG)

    @settings(max_examples=40, deadline=None, database=None)
    @given(texts(parameters(path)[name]["schema"]))
    def planned(text: str) -> None:
        parsed = parse(resource, [(name, text)], CONFIG)
        if isinstance(parsed.query, Aggregate):  # no schema can say that two outputs need two names
            outputs = [".".join(path) for path in parsed.query.group] + [m.name for m in parsed.query.measures]
            assume(len(set(outputs)) == len(outputs))
        plan = planner.plan(parsed.query, Standing(True))
        for slot, value in zip(plan.slots, parsed.raw, strict=True):
            if slot.column is not None and isinstance(value, str) and slot.form in (Form.SCALAR, Form.LIST):
                (values.parse if slot.form is Form.SCALAR else values.parse_list)(slot.column, value)

    planned()


def test_singulars() -> None:
    """Regular plurals lose their ending; what only looks like a plural does not."""
    words = {"Categories": "Category", "Boxes": "Box", "Scores": "Score", "Glass": "Glass", "Status": "Status"}
    assert {word: singular(word) for word in words} == words
