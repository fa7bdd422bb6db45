"""`backstay rules`: the matrix, why a row is refused on both databases, what a change widens, tests that pass."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backstay.cli import main
from support.asgi import Client, quiet, sync_engine
from support.databases import DATABASES
from support.documents import ROOT
from support.postgres import fresh_database

APP = """
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from backstay import Backstay, FieldRule, ModelBase, SoftDelete, TenantScoped, has_permission, has_role, me, public
from backstay import signed_in

class Base(ModelBase, DeclarativeBase):
    metadata = sa.MetaData()

class Firm(Base):
    name: Mapped[str]

class Paper(TenantScoped, SoftDelete, Base):
    __tenant__ = "firms.id"
    owner_id: Mapped[int | None]
    title: Mapped[str]
    wage: Mapped[int]
    signers: Mapped[list["Signer"]] = relationship(back_populates="paper")

class Signer(Base):
    paper_id: Mapped[int] = mapped_column(sa.ForeignKey("papers.id"))
    person_id: Mapped[int]
    paper: Mapped[Paper] = relationship(back_populates="signers")

app = Backstay("papers")
app.resource(Firm, read=public)
mine = (Paper.owner_id == me.id) | Paper.signers.any(Signer.person_id == me.id)
app.resource(
    Paper,
    read=has_role("boss") | (signed_in & mine),
    create=signed_in,
    update=(Paper.owner_id == me.id) & ~has_role("trainee"),
    delete=has_permission("papers.shred"),
    restore=has_role("boss"),
    history=has_role("boss") | (Paper.owner_id == me.id),
    check=Paper.wage < 100,
    stamp={Paper.owner_id: me.id},
    fields={Paper.wage: FieldRule(read=has_role("boss") | (Paper.owner_id == me.id), write=has_role("boss"))},
)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app; what a test imports is forgotten after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("BACKSTAY_DATABASE_URL", raising=False)
    (tmp_path / "app.py").write_text(APP)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if not name.startswith("backstay."):
            del sys.modules[name]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command line, in this process."""

    def ran(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["backstay", "rules", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return ran


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, here: Path, run: Any) -> str:
    """A database with two firms' papers."""
    found = f"sqlite:///{here / 'papers.db'}" if request.param == "sqlite" else fresh_database()
    run("app.py")  # imports the app
    tables = sys.modules["app"].Base.metadata
    engine = sync_engine(found)
    tables.create_all(engine)
    now = "2026-01-01T00:00:00.000000+00:00"
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.tables["firms"]), [{"name": "ours"}, {"name": "theirs"}])
        rows = [(1, 7, None), (1, 8, None), (2, 7, None), (1, 7, now), (1, None, None)]
        for tenant, owner, deleted in rows:
            moment = None if deleted is None else sa.func.now() if "postgres" in found else sa.literal(deleted)
            values = {"tenant_id": tenant, "owner_id": owner, "title": "t", "wage": 5}
            row = sa.insert(tables.tables["papers"]).values(**values)
            connection.execute(row if moment is None else row.values(deleted_at=sa.type_coerce(moment, sa.Text())))
        connection.execute(sa.insert(tables.tables["signers"]), [{"paper_id": 2, "person_id": 7}])
    engine.dispose()
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("why", "app.py", "nothing/1"), "There is no resource 'nothing'"),
        (("why", "app.py", "papers"), "Say which: `--action read papers/id`."),
        (("why", "app.py", "papers/1", "--action", "create"), "Say which: `--action create papers`."),
        (("why", "app.py", "papers/1", "--action", "peek"), "There is no action 'peek'."),
        (("why", "app.py", "papers/1,2"), "Say which"),
        (("why", "a.py", "b.py", "papers/1"), "Say: backstay rules why"),
        (("nothing.py",), "There is no file nothing.py."),
        (("diff", "old.json", "new.json"), "old.json cannot be read"),
        (("diff", "app.py", "app.py"), "app.py is no JSON"),
    ],
)
def test_mistakes_are_one_line(run: Any, words: tuple[str, ...], said: str) -> None:
    """And exit code 2."""
    code, text = run(*words)
    assert code == 2
    assert text.startswith("error: ")
    assert said in text
    assert text.count("\n") == 1


def test_a_key_that_no_row_can_have(run: Any, url: str) -> None:
    """It is a mistake of who asks."""
    code, text = run("why", "app.py", "papers/x", "--database", url, "--as", "7", "--tenant", "1")
    assert (code, text) == (2, "error: No row of papers can have the key x: expected an integer.\n")


def test_matrix_in_words(run: Any) -> None:
    """Cells are folded: what a role decides is not asked of the row."""
    code, text = run("app.py")
    assert code == 0
    lines = text.split("\n\n")[1].splitlines()
    assert lines[0].split("  ")[0] == "papers"
    assert lines[1].split() == ["read", "no", *["where", "[1]"], "yes", *["where", "[1]"] * 2]
    assert lines[3].split() == ["update", "no", *["where", "[3]"], *["where", "[4]"], "no", *["where", "[3]"]]
    assert "[1] papers.owner_id = me.id OR (EXISTS (SELECT 1 FROM signers WHERE papers.id = signers.paper_id" in text
    assert "Only rows of the caller's tenant (tenant_id)." in text
    assert "Deleted rows stay (deleted_at), for who may restore them." in text
    assert "The server sets owner_id = me.id." in text


def test_matrix_as_data(run: Any) -> None:
    """Each cell is a text of its own."""
    code, text = run("app.py", "--json")
    rules = json.loads(text)["resources"]["papers"]["rules"]
    assert code == 0
    assert rules["read"]["anonymous"] == "no"
    assert rules["read"]["role boss"] == "yes"
    assert rules["create"]["signed in"] == "where papers.wage < 100"
    assert rules["update"]["role boss"] == "where papers.owner_id = me.id"
    assert rules["update"]["role trainee"] == "no"
    assert rules["delete"]["permission papers.shred"].startswith("where papers.owner_id = me.id OR (EXISTS")
    assert rules["restore"]["role boss"] == "yes"
    assert rules["read wage"]["signed in"] == "where papers.owner_id = me.id"
    assert rules["write wage"] == {
        "anonymous": "no",
        "signed in": "no",
        "role boss": "yes",
        "role trainee": "no",
        "permission papers.shred": "no",
    }
    assert rules["history"]["anonymous"] == "no"
    assert rules["history"]["role boss"] == "yes"
    assert rules["history"]["signed in"].endswith("AND papers.owner_id = me.id")
    assert not {"restore", "history"} & json.loads(text)["resources"]["firms"]["rules"].keys()


OURS = ("--as", "7", "--tenant", "1")


#: Words, whether they are admitted, and some of the lines that say why.
WHY: list[tuple[tuple[str, ...], bool, list[str]]] = [
    (("papers/1",), False, ["✗ tenant: papers.tenant_id = me.tenant", "  ✗ signed_in"]),
    (("papers/1", *OURS), True, ["✓ papers.owner_id = me.id", "  ✓ read the field wage: any of"]),
    (("papers/2", *OURS), True, ["✗ papers.owner_id = me.id", "✓ EXISTS", "✗ read the field wage: any of"]),
    (("papers/3", *OURS), False, ["✗ tenant: papers.tenant_id = me.tenant", "✓ papers.owner_id = me.id"]),
    (("papers/4", *OURS), False, ["✗ not deleted: papers.deleted_at IS NULL", "✓ papers.owner_id = me.id"]),
    (("papers/5", *OURS), False, ["✗ papers.owner_id = me.id", "✗ EXISTS"]),
    (("papers/5", "--role", "boss", *OURS), True, ["✓ has_role('boss')", "✗ all of"]),
    (("papers/99", "--role", "boss", *OURS), False, ["✗ the row is in the table"]),
    (("papers/1", "--action", "update", *OURS), True, ["✓ ~has_role('trainee')", "✓ check, of the row as it is"]),
    (("papers/1", "--action", "update", "--role", "trainee", *OURS), False, ["✗ ~has_role('trainee')"]),
    (("papers/1", "--action", "delete", *OURS), False, ["✗ delete: has_permission('papers.shred')"]),
    (("papers/1", "--action", "delete", "--permission", "papers.shred", *OURS), True, ["✓ delete"]),
    (
        ("papers/4", "--action", "restore", "--role", "boss", *OURS),
        True,
        ["✓ deleted: papers.deleted_at IS NOT NULL"],
    ),
    (
        ("papers/1", "--action", "restore", "--role", "boss", *OURS),
        False,
        ["✗ deleted: papers.deleted_at IS NOT NULL"],
    ),
    (("papers", "--action", "create", *OURS), True, ["✓ create: signed_in", "? check of the new row"]),
    (("papers", "--action", "create"), False, ["✗ create: signed_in"]),
    (("papers/1", "--scope", "firms:read", *OURS), False, ["✗ the credential's scopes cover read"]),
    (("firms/1",), True, ["✓ read: public"]),
    (("papers/1", "--action", "history"), False, ["✗ history: any of"]),
    (("papers/1", "--action", "history", *OURS), True, ["✓ history: any of", "  ✓ read the field wage: any of"]),
    (("papers/2", "--action", "history", *OURS), False, ["✓ read: any of", "✗ history: any of"]),
    (("papers/3", "--action", "history", *OURS), False, ["✗ tenant: papers.tenant_id = me.tenant"]),
    (("papers/4", "--action", "history", *OURS), False, ["✗ not deleted, or theirs to restore"]),
    (("papers/4", "--action", "history", "--role", "boss", *OURS), True, ["✓ not deleted, or theirs to restore"]),
    (("papers/1", "--action", "history", "--scope", "papers:write", *OURS), False, ["✗ the credential's scopes"]),
    (("papers/99", "--action", "history", *OURS), False, ["✗ the row is in the table", "✗ the change log has what"]),
    (("firms/1", "--action", "history"), False, ["✗ history: ~public"]),
]


def test_why_a_row_that_is_gone_has_a_history(run: Any, url: str) -> None:
    """The verdict is that of the log: who could have read what it last was may look."""
    app = sys.modules["app"].app
    app.config = quiet(url)

    async def remove() -> None:
        async with app.transaction() as session:
            await session.execute(sa.text("DELETE FROM papers WHERE id = 1"))

    with Client(app) as client:  # from here on, changes are recorded
        client.loop.run_until_complete(remove())
    for words, admitted in ((OURS, True), (("--as", "8", "--tenant", "1"), False)):
        code, text = run("why", "app.py", "papers/1", "--action", "history", *words, "--database", url)
        assert code == (0 if admitted else 1), text
        assert f"{'✓' if admitted else '✗'} the change log has what it last was" in text


def test_why(run: Any, url: str) -> None:
    """The verdict, and the term that made it, whether or not others hold."""
    for words, admitted, lines in WHY:
        code, text = run("why", "app.py", *words, "--database", url)
        assert code == (0 if admitted else 1), text
        assert text.startswith("✓" if admitted else "✗")
        assert [line for line in lines if line not in text] == [], text


def test_why_as_data(run: Any, url: str) -> None:
    """A tree."""
    code, text = run("why", "app.py", "papers/1", *OURS, "--database", url, "--json")
    told = json.loads(text)
    assert (code, told["text"], told["holds"]) == (0, "read papers/1", True)
    assert told["terms"][0] == {"text": "the row is in the table", "holds": True, "terms": []}


@pytest.mark.parametrize(
    ("old", "new", "said", "wider"),
    [
        ("read=public)\nmine", "read=signed_in)\nmine", "narrower firms, read, anonymous: yes → no", False),
        ("wage < 100", "wage < 1000", "WIDER    papers, check, signed in", True),
        (
            "check=Paper.wage < 100",
            "check=sa.and_(Paper.wage < 100, Paper.wage > 3)",
            "narrower papers, check, signed in",
            False,
        ),
        ('& ~has_role("trainee")', "", "WIDER    papers, update, role trainee: no → where", True),
        ("stamp={Paper.owner_id: me.id},", "", "WIDER    papers.owner_id, set by: me.id → the caller's", True),
        ("check=Paper.wage < 100,", "check=Paper.wage < 100, hidden=[Paper.title],", "narrower papers.title", False),
        ("class Paper(TenantScoped, ", "class Paper(", "WIDER    papers, tenant: tenant_id → none", True),
        ("app.resource(Firm, read=public)", "", "narrower firms: a resource → not there", False),
        ('write=has_role("boss"))', "write=signed_in)", "WIDER    papers, write wage, signed in: no → yes", True),
        (" | Paper.signers.any(Signer.person_id == me.id)", "", "narrower papers, read, signed in", False),
    ],
)
def test_diff_tells_what_widens(run: Any, here: Path, old: str, new: str, said: str, wider: bool) -> None:
    """Exit code 1 when anybody may do more; what took away is named too, and turned round it gives."""
    assert old in APP
    texts: list[str] = []
    for name, text in (("old", APP), ("new", APP.replace(old, new))):
        (here / "app.py").write_text(text)
        sys.modules.pop("app", None)
        (here / f"{name}.json").write_text(run("app.py", "--json")[1])
        texts.append(text)
    code, told = run("diff", "old.json", "new.json")
    assert said in told
    assert (code, "WIDER" in told) == ((1, True) if wider else (0, False))
    assert run("diff", "new.json", "old.json")[0] == 1 or wider
    assert run("diff", "new.json", "new.json") == (0, "The rules are the same.\n")


@pytest.mark.parametrize("example", ["arcade", "saas"])
def test_generated_tests_pass_and_notice(here: Path, example: str) -> None:
    """In a process of their own, as a program runs them; a rule that changes makes some fail."""
    folder = shutil.copytree(
        ROOT / "examples" / example, here / example, ignore=shutil.ignore_patterns(".data", "tests", "__pycache__")
    )
    cli = [sys.executable, "-m", "backstay", "rules", "tests"]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}

    def ran(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    assert ran(cli).stdout == "wrote tests/test_rules_generated.py\n"
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_rules_generated.py"]
    passed = ran(tests)
    assert passed.returncode == 0, passed.stdout
    if example == "saas":
        return
    text = (folder / "app.py").read_text()
    (folder / "app.py").write_text(
        text.replace("write=has_role", "read=signed_in, write=has_role").replace("read=public, read=", "read=")
    )
    changed = ran(tests)
    assert changed.returncode == 1
    assert "anonymous-games-read" in changed.stdout
    assert "anonymous-scores-read" not in changed.stdout
