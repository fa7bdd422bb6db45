"""What others make of the contract: linters find no error in it, and TypeScript made from it compiles and works."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from backstay import Backstay, Config, public
from backstay.existing import reflect
from support.documents import Walk, copied
from support.node import SOURCE, Tools, installed
from support.sakila import CHINOOK_SQLITE, needs_chinook, needs_sakila, sakila
from support.server import environment

Document = dict[str, Any]
EXAMPLES = SOURCE.parents[1] / "examples"


@pytest.fixture(scope="module")
def tools() -> Tools:
    """The tools of `package.json`."""
    return installed()


@pytest.fixture
def workspace(tools: Tools, tmp_path: Path) -> Path:
    """A folder that they work in."""
    return tools.workspace(tmp_path)


@cache
def printed(folder: Path, file: str = "app.py") -> Document:
    """What the command line prints of an app, in a process of its own: its models are no other test's."""
    command = [sys.executable, "-m", "backstay", "openapi", file]
    done = subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    return json.loads(done.stdout)


def arcade() -> Document:
    """The example, with accounts and a custom endpoint."""
    return printed(EXAMPLES / "arcade")


def saas() -> Document:
    """The example with tenants."""
    return printed(EXAMPLES / "saas")


def existing(url: str, hidden: Mapping[str, str] = MappingProxyType({}), **options: Any) -> Document:
    """Everything in an existing database, to read and to write; `hidden` are columns by table."""
    schema = reflect(url)
    app = Backstay("existing", schema=schema, config=Config(database_url=url), **options)
    for name in schema.tables:
        app.resource(name, read=public, write=public, hidden=[hidden[name]] if name in hidden else [])
    return app.openapi()


def chinook() -> Document:
    """An existing SQLite file."""
    return existing(f"sqlite:///{CHINOOK_SQLITE}", envelope="success")


def sakila_tables() -> Document:
    """An existing PostgreSQL database: enums, arrays, composite keys, views.

    A filter by a password is an error to OWASP's rules, and so it is.
    """
    return existing(sakila(), {"staff": "password"})


def people() -> Document:
    """Accounts, tenants, soft deletes and rules of fields, together."""
    return printed(SOURCE, "people.py")


DOCUMENTS = [
    arcade,
    people,
    saas,
    pytest.param(chinook, marks=needs_chinook),
    pytest.param(sakila_tables, marks=needs_sakila),
]
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda made: made.__name__)


def write(folder: Path, document: Document) -> None:
    """Put the contract where the tools look."""
    (folder / "openapi.json").write_text(json.dumps(document), encoding="utf-8")


def test_versions_are_exact() -> None:
    """A tool that changes by itself would change what passes."""
    pins = json.loads((SOURCE / "package.json").read_text())["devDependencies"]
    assert [name for name, version in pins.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []


def test_owasp_rules_find_errors(tools: Tools, workspace: Path) -> None:
    """The rules are at work: a contract without bounds has errors."""
    document = deepcopy(arcade())
    del document["components"]["headers"]["RateLimit"]
    document["components"]["schemas"]["Problem"]["properties"]["detail"] = {"type": "string"}
    write(workspace, document)
    done = tools.run(workspace, "spectral", "lint", "openapi.json", "--format", "json")
    found = {finding["code"] for finding in json.loads(done.stdout) if finding["severity"] == 0}
    assert {"invalid-ref", "owasp:api4:2023-string-limit"} <= found


@every_document
def test_owasp_rules_find_no_error(tools: Tools, workspace: Path, document: Callable[[], Document]) -> None:
    """Spectral, with all of OWASP's rules as they come."""
    write(workspace, document())
    done = tools.run(workspace, "spectral", "lint", "openapi.json", "--format", "json")
    findings = [f for f in json.loads(done.stdout) if not is_of_a_member(f)]
    errors = [f"{f['code']} at {'.'.join(map(str, f['path']))}" for f in findings if f["severity"] == 0]
    assert errors == [], done.stderr


def is_of_a_member(finding: dict[str, Any]) -> bool:
    """Whether a finding is about a member `headers` of a batch's JSON: the rule takes it for a response's headers."""
    batch = finding["path"][:3] in (
        ["components", "schemas", "BatchOperation"],
        ["components", "schemas", "BatchPart"],
    )
    shown = finding["path"][1:2] != ["schemas"] and "example" in finding["path"]
    return finding["code"] == "owasp:api8:2023-define-cors-origin" and (batch or shown)


@every_document
def test_redocly_finds_nothing(tools: Tools, workspace: Path, document: Callable[[], Document]) -> None:
    """Redocly's recommended rules, warnings included."""
    write(workspace, document())
    done = tools.run(workspace, "redocly", "lint", "openapi.json", "--format", "json")
    problems = json.loads(done.stdout)["problems"]
    assert [f"{p['ruleId']} at {p['location'][0]['pointer']}" for p in problems] == []
    assert done.returncode == 0


@every_document
def test_typescript_compiles(tools: Tools, workspace: Path, document: Callable[[], Document]) -> None:
    """The types that openapi-typescript makes, under every strict setting."""
    write(workspace, document())
    (workspace / "arcade.ts").unlink()
    made = tools.run(workspace, "openapi-typescript", "openapi.json", "--output", "api.d.ts")
    assert made.returncode == 0, made.stderr
    compiled = tools.run(workspace, "tsc", "--project", ".")
    assert compiled.stdout == ""
    assert compiled.returncode == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """The arcade, migrated, seeded and served."""
    root = tmp_path_factory.mktemp("clone")
    copied("arcade", root / "examples/arcade")
    with Walk(root, environment={"BIN": str(Path(sys.executable).parent)}) as walk:
        walk.serve("sh examples/arcade/run.sh")
        yield walk


def test_a_typed_client_compiles_and_works(tools: Tools, workspace: Path, served: Walk) -> None:
    """Its mistakes are refused by the compiler, and what the compiler takes the server answers."""
    write(workspace, arcade())
    made = tools.run(workspace, "openapi-typescript", "openapi.json", "--output", "api.d.ts")
    assert made.returncode == 0, made.stderr
    compiled = tools.run(workspace, "tsc", "--project", ".")
    assert compiled.stdout == ""
    served.shell("cd examples/arcade && BACKSTAY_SECRET=$(cat .data/secret) backstay token 7")
    done = tools.run(workspace, "node", "arcade.ts", served.base, served.printed.strip())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "games": 5,
        "slug": "astro-knights",
        "value": 7,
        "found": 1,
        "refused": "Error: VALIDATION_ERROR value greater_than_equal",
        "missing": "Error: NOT_FOUND",
    }


def test_a_misspelt_field_does_not_compile(tools: Tools, workspace: Path) -> None:
    """Each expected error is one: without its mark the compiler reports it."""
    write(workspace, arcade())
    tools.run(workspace, "openapi-typescript", "openapi.json", "--output", "api.d.ts")
    client = workspace / "arcade.ts"
    text = client.read_text()
    expected = text.count("// @ts-expect-error")
    client.write_text(text.replace("// @ts-expect-error", "// without"))
    compiled = tools.run(workspace, "tsc", "--project", ".")
    assert len(re.findall(r"^arcade\.ts\(\d+,\d+\): error ", compiled.stdout, re.M)) >= expected >= 10
