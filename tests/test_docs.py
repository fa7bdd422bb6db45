"""Documentation is executed: commands run, answers are as printed, links lead somewhere, references are current."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import backstay
from backstay.accounts import by_mail, flows, given, proving
from backstay.auth import (
    api_keys,
    attempts,
    id_tokens,
    impersonation,
    mail_codes,
    passkeys,
    provider_client,
    prune,
    second_step,
    tenancy,
    totp,
)
from backstay.auth.codes import TTL_S as CODES_S
from backstay.auth.jws import TOKEN_BYTES_MAX
from backstay.auth.known import KNOWN_MAX
from backstay.auth.passwords import BCRYPT_ROUNDS_MIN
from backstay.auth.tokens import LEEWAY_S, TOKENS_MAX
from backstay.auth.weak import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from backstay.cli.new import APP
from backstay.cli.serve import HEADER_BYTES_MAX, HEADERS_MS
from backstay.config import SETTINGS
from backstay.db.apsw_types import DIGITS_MAX
from backstay.db.sqlite_writer import GROUP_MAX
from backstay.engine import STATEMENTS_MAX
from backstay.errors import CODES, FIELD_ERRORS_MAX, TEXT_CHARS_MAX
from backstay.events.changes import SEAL_S
from backstay.events.sealing import SEALED_MAX
from backstay.http.frame import HEADERS_MAX
from backstay.http.patience import GRACE_S
from backstay.observe import CALLERS_MAX as VERSION_CALLERS_MAX
from backstay.query.names import INCLUDES_MAX, PATH_STEPS_MAX
from backstay.query.search import WORD_CHARS_MAX, WORDS_MAX
from backstay.query.values import LIST_ITEMS_MAX
from backstay.rest import idempotency
from backstay.rest.batch import OPERATIONS_MAX
from backstay.rest.cursors import CURSOR_CHARS_MAX
from backstay.rest.groups import DEPTH_MAX as GROUP_DEPTH_MAX
from backstay.rest.params import PAGE_MAX
from backstay.rest.replies import ETAGS_BYTES_MAX
from backstay.schema.search_ddl import SEARCHED_CHARS_MAX
from backstay.stores.limits import SLOTS
from backstay.stores.memory import CALLERS_MAX
from support.documents import ROOT, Walk, blocks_of, pages
from support.node import installed
from support.postgres import fresh_database

README = ROOT / "README.md"
EXECUTED = [README, *pages("docs/start", "docs/guides")]
PAGES = [
    *ROOT.glob("*.md"),
    *(path for folder in ("docs", "examples", "changelog.d") for path in (ROOT / folder).rglob("*.md")),
]
#: Blocks that no test runs, and why.
NOT_RUN = {
    '"""Books and their reviews': "`backstay new` makes this file, which a test compares",
    "make run": "installs the package from the network; each of its parts is tested",
    "python -m pip install": "installs the package from the network",
    "npm install": "the tools of tests/clients are there already",
}
FIXED_LIMITS = {
    "headers in one request": HEADERS_MAX,
    "bytes of the headers": HEADER_BYTES_MAX,
    "seconds for the headers of a request": HEADERS_MS // 1_000,
    "seconds for a body, and one more for each KiB of it": int(GRACE_S),
    "parts of the window of a rate limit": SLOTS,
    "callers that a process counts for one rate limit": CALLERS_MAX,
    "callers that a process counts for one older version": VERSION_CALLERS_MAX,
    "values in a list filter": LIST_ITEMS_MAX,
    "relations in a filter or sort path": PATH_STEPS_MAX,
    "depth of groups": GROUP_DEPTH_MAX,
    "included relations in one request": INCLUDES_MAX,
    "words in a search": WORDS_MAX,
    "characters of a word in a search": WORD_CHARS_MAX,
    "characters of a field that PostgreSQL searches": SEARCHED_CHARS_MAX,
    "number of a page": PAGE_MAX,
    "characters of a cursor": CURSOR_CHARS_MAX,
    "field errors in one answer": FIELD_ERRORS_MAX,
    "characters of a sentence in a problem": TEXT_CHARS_MAX,
    "bytes of an If-Match or If-None-Match header": ETAGS_BYTES_MAX,
    "bytes of a token": TOKEN_BYTES_MAX,
    "characters of an Idempotency-Key": idempotency.KEY_CHARS_MAX,
    "hours that the answer to a request with a key is kept": round(idempotency.KEPT.total_seconds() / 3_600),
    "kept answers that one request drops when they are too old": idempotency.DROPPED_MAX,
    "operations in a batch": OPERATIONS_MAX,
    "entries of the change log that one transaction seals": SEALED_MAX,
    "seconds until a committed change is sealed": round(SEAL_S),
    "statements kept compiled": STATEMENTS_MAX,
    "verified tokens kept": TOKENS_MAX,
    "credentials remembered": KNOWN_MAX,
    "characters of a password": PASSWORD_CHARS_MAX,
    "writes in one commit": GROUP_MAX,
    "digits of a Numeric on SQLite": DIGITS_MAX,
}
LIMITS_OF_ACCOUNTS = {
    "characters of a password, at least": PASSWORD_CHARS_MIN,
    "rounds of bcrypt in a hash that is read": BCRYPT_ROUNDS_MIN,
    "wrong passwords for a name, until each makes the next wait": given.ACCOUNT_FREE,
    "wrong passwords from an address, until each makes the next wait": given.IP_FREE,
    "wrong codes of a second step of one user, until each makes the next wait": second_step.FREE,
    "mails of a kind to one address, until each makes the next wait": mail_codes.MAILS_FREE,
    "seconds of the longest wait": attempts.WAIT_S_MAX,
    "seconds until a failure is forgotten": attempts.FORGET_S,
    "seconds since signing in that do instead of a password": proving.FRESH_S,
    "seconds for a code that proves an address": CODES_S["verify"],
    "seconds for a code to choose a new password": CODES_S["reset"],
    "seconds for a link or code to sign in with": mail_codes.TTL_S,
    "tries of a code to sign in with": mail_codes.ATTEMPTS_MAX,
    "seconds for a second step": second_step.TTL_S,
    "tries of a second step": second_step.ATTEMPTS_MAX,
    "steps of 30 s that a clock of one-time passwords may be off": totp.DRIFT,
    "recovery codes": totp.RECOVERY_CODES,
    "seconds for a passkey's answer": passkeys.TTL_S,
    "passkeys of one user": passkeys.KEYS_MAX,
    "seconds for a sign-in at a provider": flows.FLOW_S,
    "seconds for an answer of a provider": int(provider_client.TIMEOUT_S),
    "bytes of an answer of a provider": provider_client.ANSWER_BYTES_MAX,
    "seconds that a provider's keys are believed": provider_client.KEEP_S,
    "characters of an ID token": id_tokens.TOKEN_CHARS_MAX,
    "API keys of one user": api_keys.KEYS_MAX,
    "scopes of one credential": api_keys.SCOPES_MAX,
    "seconds to which a key's last use is kept": api_keys.USE_S,
    "seconds of an impersonation": impersonation.TTL_S,
    "characters of a tenant's name": tenancy.NAME_CHARS_MAX,
    "memberships remembered": tenancy.KNOWN_MAX,
    "seconds that the clock of a server may be off": LEEWAY_S,
    "seconds that the clock of a provider may be off": id_tokens.LEEWAY_S,
    "days that ended sessions are kept": prune.SESSION_DAYS,
}
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.M)
_CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.M | re.S)


@pytest.mark.skipif(not shutil.which("curl"), reason="the pages' commands need curl")
@pytest.mark.parametrize("page", EXECUTED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    """Every block is a file, a command that succeeds, or what the command before it printed."""
    folder = tmp_path / "work"
    shutil.copytree(ROOT / "examples/existing_database", folder / "examples/existing_database")
    given = {"DATABASE_URL": fresh_database()} if page.stem == "postgresql" else {}
    if page.stem == "typed-clients":
        given = with_node(folder)
    with Walk(folder, skip=NOT_RUN, environment=given) as walk:
        walk.page(page)


def with_node(folder: Path) -> dict[str, str]:
    """Let a page have Node and the packages that it would install."""
    tools = installed()
    (folder / "node_modules").symlink_to(tools.home / "node_modules", target_is_directory=True)
    return {"PATH": tools.path(os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))}


def test_readme_is_short_and_shows_the_new_app() -> None:
    """A stranger reads it to its end, and gets what it shows from `backstay new`."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250
    shown = next(block for block in blocks_of(README) if block.title == "bookshop/app.py")
    assert shown.text == APP.format(name="bookshop")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """A link inside the repository names a file that is there, and a heading that it has."""
    broken: list[str] = []
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    found = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


def test_every_block_names_its_language() -> None:
    """A block without a language is not coloured, and nobody knows whether it is meant to run."""
    nameless = [f"{page.name}:{b.line}" for page in PAGES for b in blocks_of(page) if not b.language]
    assert nameless == []


def test_reference_is_current() -> None:
    """The generated pages are what `make docs` writes; in a process of its own, as models are declared but once."""
    code = (
        "import runpy; made = runpy.run_path('docs/generate.py');"
        "print([n for n in made['PAGES'] if (made['REFERENCE'] / n).read_text() != made['text_of'](n)])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]", "run `make docs`"


@pytest.mark.parametrize(
    ("page", "headings"),
    [
        ("config.md", [setting.env for setting in SETTINGS]),
        ("errors.md", list(CODES)),
        ("python-api.md", backstay.__all__),
        ("cli.md", ["backstay serve", "backstay new", "backstay token", "backstay db migrate", "backstay db seed"]),
    ],
)
def test_everything_has_its_heading(page: str, headings: list[str]) -> None:
    """A setting, code, name or command without a heading could not be linked to."""
    found = _HEADING.findall((ROOT / "docs/reference" / page).read_text(encoding="utf-8"))
    assert [heading for heading in headings if heading not in found] == []


def test_error_types_lead_to_their_headings() -> None:
    """The fragment of a problem's `type` is the anchor of its code's heading."""
    known = anchors(ROOT / "docs/reference/errors.md")
    assert [code for code in CODES if code.lower() not in known] == []


def test_decisions_have_numbers_of_their_own() -> None:
    """A number names one decision, and its page says the same one."""
    names = [path.name for path in pages("docs/decisions")]
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    titles = [path.read_text(encoding="utf-8").splitlines()[0] for path in pages("docs/decisions")]
    assert [title[2:6] for title in titles] == [name[:4] for name in names]


def test_limits_that_share_a_row_are_one() -> None:
    """A row of the page that stands for several constants is true of each."""
    assert CODES_S["verify"] == CODES_S["email"]
    assert by_mail.MAILS_FREE == mail_codes.MAILS_FREE


@pytest.mark.parametrize(("limit", "value"), (FIXED_LIMITS | LIMITS_OF_ACCOUNTS).items())
def test_fixed_limits_are_as_documented(limit: str, value: int) -> None:
    """A number that changes in the code changes on the page."""
    assert f"| {limit} | {value} |" in (ROOT / "docs/concepts/limits.md").read_text(encoding="utf-8")


def test_every_setting_that_bounds_is_on_the_page_of_limits() -> None:
    """A new limit is explained where limits are."""
    page = (ROOT / "docs/concepts/limits.md").read_text(encoding="utf-8")
    bounds = [s.env for s in SETTINGS if s.name.endswith(("_max", "_timeout_s", "_budget_ms", "_threads"))]
    assert [env for env in bounds if f"`{env}`" not in page] == []


def test_every_invariant_names_tests_that_exist() -> None:
    """No promise without its proof."""
    page = (ROOT / "docs/concepts/invariants.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert all("::test_" in row for row in rows)
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", page)
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in read(ROOT / file)]
    assert missing == []


def read(path: Path) -> str:
    """A file's text; empty when it is not there."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def generator() -> Any:
    """docs/generate.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
