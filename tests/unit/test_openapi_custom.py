"""What the contract says of custom endpoints: what the program declares, and what the frame does for all of them."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from sqlalchemy.orm import DeclarativeBase, Mapped

from backstay import Backstay, Config, ModelBase, Problem, SoftDelete, TenantScoped, has_role, public, signed_in
from backstay.rest.openapi_access import security_schemes

CONFIG = Config(secret="x" * 40)


class Base(ModelBase, DeclarativeBase):
    """A registry of its own."""


class Note(SoftDelete, Base):
    """A text."""

    text: Mapped[str]


class Order(TenantScoped, Base):
    """A tenant's."""

    article: Mapped[str]


class Guess(BaseModel):
    """A body, and an answer."""

    word: str
    tries: Annotated[int, Field(ge=1, le=2**63 - 1)]
    few: Annotated[int, Field(gt=0, le=9)]
    small: Annotated[int, Field(ge=0, le=9)]


def documented(config: Config = CONFIG, *, strict: bool = False) -> dict[str, Any]:
    """The contract of an app with resources and custom endpoints."""
    app = Backstay("words", config=config, info={"contact": {"name": "Ada"}})
    app.resource(Note, read=public, write=signed_in, restore=has_role("admin"), require_match=strict)
    app.resource(Order, read=public)

    @app.post("/api/v1/words/{word}/guesses", responses={409: {"description": "It is guessed."}})
    async def guess(word: str, body: Guess, limit: int = 3) -> list[Guess]:
        raise Problem("CONFLICT")

    @app.get("/ping", tags=["probes"])
    async def ping() -> dict[str, str]:
        return {}

    @app.post("/api/v1/auth/sign")
    async def sign() -> dict[str, str]:
        return {}

    return app.openapi()


DOCUMENT = documented()
GUESS = DOCUMENT["paths"]["/api/v1/words/{word}/guesses"]["post"]


def test_fastapis_refusals_are_not_ours() -> None:
    """Invalid input is a Problem with 400, and nothing is left of what FastAPI says of it."""
    assert "422" not in DOCUMENT["paths"]["/ping"]["get"]["responses"]
    assert GUESS["responses"]["422"] == {"$ref": "#/components/responses/UnprocessableContent"}
    assert GUESS["responses"]["400"] == {"$ref": "#/components/responses/BadRequest"}
    assert not {"HTTPValidationError", "ValidationError"} & DOCUMENT["components"]["schemas"].keys()


def test_the_frame_is_documented() -> None:
    """Anybody may ask, unless the program says otherwise; every refusal is there, and so are the headers."""
    assert GUESS["security"] == [{}, {"bearerAuth": []}]
    assert GUESS["operationId"] == "guess"
    assert {"401", "403", "406", "408", "413", "415", "414", "429", "431", "500", "503"} <= GUESS["responses"].keys()
    assert GUESS["responses"]["default"] == {"$ref": "#/components/responses/OtherProblem"}
    assert {"X-Request-Id", "RateLimit"} <= GUESS["responses"]["200"]["headers"].keys()
    ping = DOCUMENT["paths"]["/ping"]["get"]["responses"]
    assert not {"406", "413", "415"} & ping.keys()


def test_a_write_of_the_programs_own_may_be_sent_again() -> None:
    """What changes nothing takes no key, and neither does what answers with credentials."""
    paths = documented()["paths"]
    key = {"$ref": "#/components/parameters/Idempotency-Key"}
    assert key in GUESS["parameters"]
    assert "Idempotency-Replayed" in GUESS["responses"]["200"]["headers"]
    for path, method in (("/ping", "get"), ("/api/v1/auth/sign", "post")):
        assert key not in paths[path][method].get("parameters", [])
        assert "422" not in paths[path][method]["responses"]


def test_a_declared_refusal_is_a_problem() -> None:
    """Its description is the program's, its body ours."""
    declared = GUESS["responses"]["409"]
    assert declared["description"] == "It is guessed."
    content = declared["content"]["application/problem+json"]
    assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert {"CONFLICT", "STILL_REFERENCED", "IDEMPOTENCY_IN_PROGRESS"} == content["examples"].keys()


def test_texts_are_as_long_as_what_carries_them() -> None:
    """In a path the URL, in a body that is an answer too the answer; numbers have a width where they have bounds."""
    word, limit, _ = GUESS["parameters"]
    assert word["schema"]["maxLength"] == CONFIG.url_bytes_max
    assert "format" not in limit["schema"]
    properties = DOCUMENT["components"]["schemas"]["Guess"]["properties"]
    assert properties["word"]["maxLength"] == CONFIG.result_bytes_max
    assert (properties["tries"]["maximum"], properties["tries"]["format"]) == (2**63 - 1, "int64")
    assert properties["small"]["format"] == "int32"
    assert "format" not in properties["few"]


def test_every_tag_is_described() -> None:
    """Also one that only an endpoint names."""
    described = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}
    assert {"notes", "orders", "batch", "system", "custom", "probes"} == described.keys()
    assert all(described.values())


@pytest.mark.parametrize(("dev", "word", "internal"), [(True, "Local", True), (False, "Production", False)])
def test_the_server_says_what_it_is(dev: bool, word: str, internal: bool) -> None:
    """A server for development is not the one to link to."""
    (server,) = documented(Config(secret="x" * 40, dev=dev))["servers"]
    assert server["description"].startswith(word)
    assert server["x-internal"] is internal


def test_the_program_says_who_it_is() -> None:
    """What it gives joins what is known."""
    assert DOCUMENT["info"]["contact"] == {"name": "Ada"}
    assert DOCUMENT["info"]["title"] == "words"


def test_soft_deletes_are_documented() -> None:
    """Deleted rows can be asked for, and restored."""
    restore = DOCUMENT["paths"]["/api/v1/notes/{key}/restore"]["post"]
    assert restore["security"] == [{"bearerAuth": []}]
    assert {"200", "403", "404", "409"} <= restore["responses"].keys()
    reference = {"$ref": "#/components/parameters/with_deleted"}
    for path in ("/api/v1/notes", "/api/v1/notes/{key}", "/api/v1/notes/aggregate"):
        assert reference in DOCUMENT["paths"][path]["get"]["parameters"]
    assert reference not in DOCUMENT["paths"]["/api/v1/orders"]["get"]["parameters"]


def test_conditions_are_documented() -> None:
    """A change can name the version that it is of, and must where the resource says so."""
    optional, required = (documented()["paths"]["/api/v1/notes/{key}"][method] for method in ("patch", "delete"))
    assert {"412"} <= optional["responses"].keys() & required["responses"].keys()
    assert "428" not in optional["responses"]
    header = DOCUMENT["components"]["parameters"]["If-Match"]
    assert (header["in"], header["required"]) == ("header", False)
    strict = documented(strict=True)
    assert strict["components"]["parameters"]["If-Match"]["required"] is True
    assert "428" in strict["paths"]["/api/v1/notes/{key}"]["put"]["responses"]


def test_a_tenants_rows_are_nobody_elses() -> None:
    """However public the rule: without a tenant there are none."""
    assert DOCUMENT["paths"]["/api/v1/orders"]["get"]["security"] == [{"bearerAuth": []}]
    assert DOCUMENT["paths"]["/api/v1/notes"]["get"]["security"] == [{}, {"bearerAuth": []}]


def test_more_ways_to_sign_in_are_alternatives() -> None:
    """A request uses one of them."""
    more = {"sessionCookie": {"type": "apiKey", "in": "cookie", "name": "session"}}
    assert [*security_schemes(more)] == ["bearerAuth", "sessionCookie"]
    assert "RFC8725" in security_schemes()["bearerAuth"]["description"]
