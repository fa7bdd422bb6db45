"""The contract of accounts is true: schemathesis over their endpoints, for anybody and for who is signed in."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from backstay import Backstay, Mail
from support.asgi import Client
from support.databases import DATABASES
from support.people import OPTIONS, PEOPLE, bearer_of, people_app

SEED, EXAMPLES = 20261121, 15
PASSWORD = "purple-elephants-dance"
#: What ends the session that the search is signed in with.
ENDS = r"/auth/(logout|logout-all|sessions/\{number\})$"
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
}


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        signed_in: whether a session's token is sent.
        verify: whether addresses must be confirmed.
    """

    database: str
    signed_in: bool
    verify: bool

    def __str__(self) -> str:
        return (
            f"{self.database}-{'session' if self.signed_in else 'anonymous'}-{'mail' if self.verify else 'at once'}"
        )


RUNS = [Run(database, signed, not signed) for database in DATABASES for signed in (True, False)]


def app_of(url: str, *, verify: bool) -> Backstay:
    """The app, with a mailer that keeps nothing."""
    app = people_app(url, replace(OPTIONS, verify_email=verify), public_url="https://app.example.org")

    @app.mailer
    async def send(mail: Mail) -> None:
        assert mail.to

    return app


def credential_of(url: str) -> str:
    """The Authorization header of an account."""
    with Client(app_of(url, verify=False)) as client:
        return bearer_of(client.post("/auth/register", {"email": "ada@example.org", "password": PASSWORD}))


def settings_of(credential: str) -> SchemathesisConfig:
    """All data; every check but those that an address in a body, which no schema describes, cannot pass."""
    return SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "continue-on-failure": True,
            "suppress-health-check": ["all"],
            "headers": {"Authorization": credential} if credential else {},
            "generation": {"mode": "all", "max-examples": EXAMPLES, "database": "none"},
            "checks": {
                "negative_data_rejection": {"expected-statuses": ["4xx", "503"]},
                "positive_data_acceptance": {"enabled": False},
            },
            "phases": {
                name: {"enabled": name != "stateful"} for name in ("examples", "coverage", "fuzzing", "stateful")
            },
        }
    )


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_the_contract_is_true(tmp_path: Path, run: Run) -> None:
    """No 5xx, nothing undocumented, no wrong shape, whatever is sent; and no secret in any answer."""
    url = PEOPLE.copied(run.database, tmp_path)
    app, credential = app_of(url, verify=run.verify), credential_of(url)
    config = settings_of(credential if run.signed_in else "")
    schema: Any = schemathesis.openapi.from_dict(app.openapi(), config=config).include(tag="auth")
    schema = schema.exclude(path_regex=ENDS) if run.signed_in else schema
    schema.app, schema.location = app, "/openapi.json"
    failures: list[str] = []
    checks: set[str] = set()
    statuses: set[int] = set()
    cases = 0
    for event in from_schema(schema).execute():
        assert not isinstance(event, (events.NonFatalError, events.FatalError)), event
        if not isinstance(event, events.ScenarioFinished):
            continue
        for interaction in event.recorder.interactions.values():
            cases += 1
            answer = interaction.response
            statuses.add(answer.status_code if answer else 0)
            assert b"$argon2" not in (answer.content or b"")
            assert PASSWORD.encode() not in (answer.content or b"")
        for found in event.recorder.checks.values():
            checks |= {check.name for check in found}
            failures += [f"{c.name}: {c.failure_info.code_sample}" for c in found if c.failure_info]
    asyncio.run(app.stop())
    assert failures == [], "\n".join(f[:90] + " … " + f[-90:] for f in failures)
    assert checks >= CHECKS
    assert cases > 300
    assert {400, 401 if not run.signed_in else 200} <= statuses
    assert not any(status == 0 or (status >= 500 and status != 503) for status in statuses)
