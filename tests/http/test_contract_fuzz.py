"""The contract is true: schemathesis, with all its checks, over an arcade-like API and for every sort of principal.

`BACKSTAY_FUZZ_EXAMPLES=300 BACKSTAY_FUZZ_SEED=7 pytest tests/http/test_contract_fuzz.py` searches longer, elsewhere.
"""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jsonschema_rs
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.engine import events, from_schema
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData

from backstay import Backstay
from support.asgi import bearer
from support.coherent import coherent
from support.fuzzed import ADMIN, ARCADE, PLAYER, arcade

SEED = int(os.environ.get("BACKSTAY_FUZZ_SEED", "20261121"))
EXAMPLES = int(os.environ.get("BACKSTAY_FUZZ_EXAMPLES", "12"))
WHO = {"admin": (ADMIN, ["admin"]), "player": (PLAYER, []), "anonymous": None}
PHASES = ("examples", "coverage", "fuzzing", "stateful")
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
}
#: Our documented refusals of size and media type refuse bad input as well as 400 does.
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "414", "415", "422", "431"]
#: Every part of a URL has its bound, and together they can be longer than the whole may be.
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "414", "429"]
FAILURES_SHOWN = 5
#: Filters by an operator other than equality, among the document's shared parameters.
_OPERATOR = re.compile(r"/\w+\.\w+\.(?!eq$)\w+$")


@dataclass
class Tally:
    """What one run did."""

    cases: int = 0
    checks: set[str] = field(default_factory=set)
    modes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def settings_of(credential: str, phases: tuple[str, ...], examples: int) -> SchemathesisConfig:
    """All checks, all data; the same cases in every run."""
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "continue-on-failure": True,
            # How quickly data is made depends on the machine, and says nothing about the contract.
            "suppress-health-check": ["all"],
            "headers": {"Authorization": credential} if credential else {},
            "generation": {"mode": "all", "max-examples": examples, "database": "none"},
            "checks": {
                "negative_data_rejection": {"expected-statuses": REFUSALS},
                "positive_data_acceptance": {"expected-statuses": ACCEPTED},
            },
            "phases": {name: {"enabled": name in phases} for name in PHASES},
        }
    )


def keeps(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure counts: not where there is nothing to restore, nor where the text that was sent is valid.

    `include=` is how OpenAPI 3.1 ("style values", empty) writes both the list without items, which the contract
    admits, and the list of one empty name, which it does not. The server can only read the first.
    """
    if isinstance(failure, EnsureResourceAvailability):  # what was just created was not deleted: nothing to restore
        return not case.operation.path.endswith("/restore")
    if isinstance(failure, RejectedPositiveData) and b"a filter of the rows" in response.content:
        return False  # OpenAPI cannot say that one of many parameters has to be there
    if isinstance(failure, RejectedPositiveData) and b"is no row of" in response.content:
        return False  # nor which rows belong to the one that is changed
    if not isinstance(failure, AcceptedNegativeData):
        return True
    if case.operation.path.endswith("/import"):  # any text is a file: the report says what is wrong with its rows
        return False
    data = case.meta.phase.data
    names = {mutation.parameter for mutation in data.mutations} or {data.parameter}
    sent = parse_qs(urlsplit(response.request.url).query, keep_blank_values=True)
    lists = {p.name for p in case.operation.query if p.definition.get("schema", {}).get("type") == "array"}
    return not all(name in lists and sent.get(name, [""]) == [""] for name in names)


def is_its_own(context: Any, case: Any) -> bool:
    """Whether the request is its operation's: `/games/aggregate` is a path, and no game (OpenAPI 3.1, 4.8.8)."""
    words = ("aggregate", "export", "import")
    return case.path_parameters.get("key") not in words if isinstance(case.path_parameters, dict) else True


@schemathesis.serializer("application/x-ndjson", "text/csv")
def as_text(context: Any, value: Any) -> bytes:
    """A file of rows as it stands; what is no text is its JSON."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


def drawable(document: dict[str, Any], url_bytes_max: int) -> dict[str, Any]:
    """The contract without the bounds of parameters that are the URL's own.

    A value as long as a URL is refused with the URL, and thousands of characters for each of sixty parameters take
    minutes to draw; `test_bad_urls` tries that bound.
    """
    items = document["paths"].values()
    lists = [
        part.get("parameters", ()) for item in items for part in (item, *item.values()) if isinstance(part, dict)
    ]
    inline = [parameter for parameters in lists for parameter in parameters if "schema" in parameter]
    for parameter in (*document["components"]["parameters"].values(), *inline):
        for word in ("maxLength", "maxItems"):
            for schema in (parameter["schema"], parameter["schema"].get("items", {})):
                if schema.get(word) in (url_bytes_max, url_bytes_max // 2 + 1):
                    del schema[word]
    return document


def fewer_filters(document: dict[str, Any]) -> None:
    """Leave filters by operator to lists, and to scores, of which each operation has all of them tried one by one."""
    for path, item in document["paths"].items():
        for method, part in item.items():
            if isinstance(part, dict) and "parameters" in part and (method, path.count("/")) != ("get", 3):
                given = part["parameters"]
                part["parameters"] = [p for p in given if not _OPERATOR.search(p.get("$ref", ""))]


@dataclass(frozen=True)
class Run:
    """One part of the search.

    Attributes:
        scores: whether only the operations on scores are called, or only the others; all of them by default.
        least: the fewest cases that it may come down to.
        examples: how many cases of an operation are made up.
    """

    principal: str
    phases: tuple[str, ...]
    least: int
    scores: bool | None = None
    database: str = "sqlite"
    examples: int = EXAMPLES

    def __str__(self) -> str:
        part = {None: "", True: "-scores", False: "-others"}[self.scores]
        return f"{self.database}-{self.principal}-{self.phases[-1]}{part}"


def outcomes(app: Backstay, run: Run) -> Iterator[Any]:
    """The scenarios of one run."""
    who = WHO[run.principal]
    config = settings_of(bearer(who[0], roles=who[1]) if who else "", run.phases, run.examples)
    document = drawable(app.openapi(), app.config.url_bytes_max)
    if run.scores is False:
        fewer_filters(document)
    schema = schemathesis.openapi.from_dict(document, config=config)
    schema.app, schema.location = app, "/openapi.json"
    if run.scores is not None:
        schema = (schema.include if run.scores else schema.exclude)(tag="scores")
    schema.hook("filter_case")(is_its_own)
    schema.hook("map_case")(lambda context, case: coherent(case))
    schema.hook("filter_failure")(keeps)
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError), event.value
        assert not isinstance(event, events.FatalError), event.exception
        if isinstance(event, events.ScenarioFinished):
            yield event.recorder


def refusals(document: dict[str, Any]) -> jsonschema_rs.Validator:
    """What every refusal is, documented for its operation or not."""
    whole = {"components": document["components"], "$ref": "#/components/schemas/Problem"}
    return jsonschema_rs.validator_for(whole, validate_formats=True)


def tally_of(url: str, run: Run) -> Tally:
    """Fuzz the API and count."""
    tally = Tally()
    app = arcade(url)
    problem = refusals(app.openapi())
    for recorder in outcomes(app, run):
        tally.cases += len(recorder.interactions)
        for identity, interaction in recorder.interactions.items():
            case, answer = recorder.cases[identity].value, interaction.response
            tally.modes[case.meta.generation.mode.value if case.meta else "probe"] += 1
            tally.statuses[answer.status_code if answer else 0] += 1
            if answer and answer.status_code >= 400 and case.method.upper() != "HEAD":
                tally.failures += wrong_refusal(answer, problem)
        for identity, checks in recorder.checks.items():
            tally.checks |= {check.name for check in checks}
            for check in (check for check in checks if check.failure_info):
                if check.name == "use_after_free" and "/batch" in check.failure_info.code_sample:
                    continue  # the path has no key: what its body names is no use of the deleted row
                failure = check.failure_info.failure
                answer = recorder.interactions[failure.case_id or identity].response
                if check.name == "missing_required_header" and answer and b"at most 64 parameters" in answer.content:
                    continue  # a query that nobody may send is refused before anybody is asked who sends it
                text = f"{failure.operation}: {check.name}\n{failure.message}\n{check.failure_info.code_sample}"
                tally.failures.append(f"{text}\n{answer.content[:800] if answer else 'no answer'}")
    asyncio.run(app.stop())
    return tally


def wrong_refusal(answer: Any, problem: jsonschema_rs.Validator) -> list[str]:
    """What is wrong with a refusal, whatever the contract says of its status."""
    if answer.headers["content-type"] != ["application/problem+json"]:
        return [f"{answer.status_code} as {answer.headers['content-type']}: {answer.content[:800]}"]
    body = json.loads(answer.content)
    found = [error.message for error in problem.iter_errors(body)]
    found += [f"says {body['status']}"] if body.get("status") != answer.status_code else []
    return [f"{answer.status_code} {error}: {answer.content[:800]}" for error in found]


#: Together far more than the 2,000 cases that are wanted; in parts, so that workers share them.
RUNS = [
    Run("admin", ("examples", "coverage"), 2_500, scores=True),
    Run("admin", ("examples", "coverage"), 2_500, scores=False),
    Run("admin", ("fuzzing", "stateful"), 150),
    Run("player", ("fuzzing", "stateful"), 150),
    Run("anonymous", ("fuzzing", "stateful"), 150),
    # What refuses does so before any database: fewer cases show whether this one keeps the contract.
    Run("admin", ("fuzzing", "stateful"), 60, database="postgresql", examples=5),
    Run("player", ("fuzzing", "stateful"), 60, database="postgresql", examples=5),
    Run("anonymous", ("fuzzing", "stateful"), 60, database="postgresql", examples=5),
]


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_contract_is_true(tmp_path: Path, run: Run) -> None:
    """No 5xx, nothing undocumented, no wrong shape, whatever is sent; valid data accepted, invalid data refused."""
    tally = tally_of(ARCADE.copied(run.database, tmp_path), run)
    assert not tally.failures, "\n\n".join([f"{len(tally.failures)} failures", *tally.failures[:FAILURES_SHOWN]])
    assert tally.cases >= run.least
    assert tally.checks >= CHECKS
    assert min(tally.modes["positive"], tally.modes["negative"]) > run.least // 10
    wanted = {200, 400, 401, 404} | (set() if run.principal == "anonymous" else {201})
    assert wanted <= tally.statuses.keys()
    assert not any(status == 0 or status >= 500 for status in tally.statuses)


def test_the_runs_are_enough() -> None:
    """At least 2,000 cases in total, whatever the runs come down to."""
    assert sum(run.least for run in RUNS) >= 2_000
