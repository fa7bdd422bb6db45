"""The shape of src/backstay, held by rules over its syntax trees; nothing of it is imported here.

A rule is a pure function from modules to findings. Each is run on the source and on small bad samples, so
that a rule that stops seeing anything fails too.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "backstay"

# A room imports lower levels only. Rooms of one level may import each other without a cycle; front ends may
# not. A new module or package gets its place here, with the reason in the commit.
LEVELS: dict[int, str] = {
    0: "errors config context observe periodic",
    1: "schema",
    2: "query",
    3: "sql",
    4: "db",
    5: "stores services integrations",
    6: "jobs",
    7: "events",
    8: "engine refusals hooks hooked_writes transactions",
    9: "auth bulk",
    10: "http",
    11: "rest graphql live console accounts",
    12: "check",
    13: "app runtime exposures existing fixed versions cli testing mcp __main__",
    14: "__init__",
}
LEVEL = {room: level for level, rooms in LEVELS.items() for room in rooms.split()}
FRONT_END_LEVEL = 11

LINES_MAX = 400
FUNCTION_LINES_MAX = 70
METHODS_MAX = 20
POSITIONAL_MAX = 6

SQL_START = re.compile(r"\s*(SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s")
TEXT_MAKERS = ("sqlalchemy.text", "sqlalchemy.sql.text", "sqlalchemy.sql.expression.text")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One parsed file: `name` is dotted, `is_package` says that it is an `__init__`."""

    name: str
    is_package: bool
    text: str

    @property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        """The first name below backstay, which has a level."""
        return room_of(self.name)


Modules = dict[str, Module]
Rule = Callable[[Modules], list[str]]


def room_of(name: str) -> str:
    """The room of a dotted module name."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def read_source() -> Modules:
    """Every module of the package."""
    modules: Modules = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("backstay", *path.relative_to(SOURCE).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = Module(name, is_package, path.read_text(encoding="utf-8"))
    return modules


def sample(**files: str) -> Modules:
    """Modules from keywords: `rest__params="…"` is backstay.rest.params, `top` is backstay itself."""
    names = {key: "backstay" if key == "top" else "backstay." + key.replace("__", ".") for key in files}
    packages = {"backstay"} | {name.rpartition(".")[0] for name in names.values()}
    return {names[key]: Module(names[key], names[key] in packages, text) for key, text in files.items()}


def imported(module: Module, node: ast.AST, modules: Modules) -> Iterator[str]:
    """The own modules that a statement or call imports, each as precisely as the file tree allows."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "backstay")
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.name.split(".")
            parts = parts[: len(parts) - node.level + module.is_package]
            base = ".".join([*parts, base] if base else parts)
        if base.split(".")[0] == "backstay":
            for alias in node.names:
                full = f"{base}.{alias.name}"
                known = full in modules or (base == "backstay" and alias.name in LEVEL)
                yield full if known else base
    elif isinstance(node, ast.Call) and called_name(node).endswith(("import_module", "__import__")):
        for argument in node.args[:1]:
            if isinstance(argument, ast.Constant) and str(argument.value).startswith(("backstay", ".")):
                yield str(argument.value) if str(argument.value).startswith("backstay") else module.name


def called_name(node: ast.Call) -> str:
    """`a.b.c` of the call `a.b.c()`; the empty string when the callee is not a plain name."""
    return ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, also nested ones."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def inside_functions(tree: ast.Module) -> Iterator[tuple[Function, ast.AST]]:
    """Each node of a function's body with its outermost function."""
    outermost: set[ast.AST] = set()
    for function in functions(tree):
        if function not in outermost:
            for node in ast.walk(function):
                outermost.add(node)
                yield function, node


def levels_go_down(modules: Modules) -> list[str]:
    """Every module has a level; imports (TYPE_CHECKING too) go down; front ends do not know each other."""
    findings = [f"{m.name}: no level for {m.room!r}" for m in modules.values() if m.room not in LEVEL]
    for module in modules.values():
        for node in ast.walk(module.tree):
            for target in imported(module, node, modules):
                room = room_of(target)
                if module.room == room or not {room, module.room} <= LEVEL.keys():
                    continue
                if LEVEL[room] > LEVEL[module.room]:
                    findings.append(f"{module.name}: imports {target}, which is higher")
                elif LEVEL[room] == LEVEL[module.room] == FRONT_END_LEVEL:
                    findings.append(f"{module.name}: front end imports front end {target}")
    return findings


def no_cycles(modules: Modules) -> list[str]:
    """The modules can be put in an order in which each imports earlier ones only, TYPE_CHECKING or not."""
    graph: dict[str, set[str]] = {}
    for module in modules.values():
        lazy = {node for _, node in inside_functions(module.tree)}
        nodes = (node for node in ast.walk(module.tree) if node not in lazy)
        targets = {target for node in nodes for target in imported(module, node, modules)}
        graph[module.name] = targets & modules.keys() - {module.name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["cycle: " + " imports ".join(reversed(error.args[1]))]
    return []


def no_hidden_imports(modules: Modules) -> list[str]:
    """Own modules are imported at the top of a file, except by commands and by a package's `__getattr__`."""
    findings: list[str] = []
    for module in modules.values():
        if module.room == "cli":
            continue
        for function, node in inside_functions(module.tree):
            if module.is_package and function.name == "__getattr__":
                continue
            findings += [
                f"{module.name}.{function.name}: imports {target} in its body"
                for target in imported(module, node, modules)
            ]
    return findings


def modules_are_small(modules: Modules) -> list[str]:
    """A module opens with a docstring and is one noun long."""
    findings = [f"{m.name}: no module docstring" for m in modules.values() if not ast.get_docstring(m.tree)]
    for module in modules.values():
        lines = len(module.text.splitlines())
        if lines > LINES_MAX:
            findings.append(f"{module.name}: {lines} lines, max {LINES_MAX}")
    return findings


def functions_are_small(modules: Modules) -> list[str]:
    """A function fits a screen and takes few positional parameters (self and cls not counted)."""
    findings: list[str] = []
    for module in modules.values():
        for function in functions(module.tree):
            where = f"{module.name}.{function.name}"
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                findings.append(f"{where}: {lines} lines, max {FUNCTION_LINES_MAX}")
            names = [a.arg for a in function.args.posonlyargs + function.args.args]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > POSITIONAL_MAX:
                findings.append(f"{where}: {count} positional parameters, max {POSITIONAL_MAX}")
    return findings


def classes_are_small(modules: Modules) -> list[str]:
    """A class has few methods; overload signatures are not methods."""
    findings: list[str] = []
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                methods = [m for m in node.body if isinstance(m, Function) and not is_overload(m)]
                if len(methods) > METHODS_MAX:
                    findings.append(f"{module.name}.{node.name}: {len(methods)} methods, max {METHODS_MAX}")
    return findings


def is_overload(function: Function) -> bool:
    """Whether the function is a typing.overload signature."""
    return any(ast.unparse(d).rpartition(".")[2] == "overload" for d in function.decorator_list)


def sql_text_has_one_home(modules: Modules) -> list[str]:
    """SQL text is made in sql/ and db/ only: no sqlalchemy `text()`, no statement glued from strings.

    The default of a column, `server_default=text("1")`, is part of a declaration and may be a literal.
    """
    findings: list[str] = []
    for module in modules.values():
        if module.room in ("sql", "db"):
            continue
        tree = module.tree
        aliases = third_party_names(tree)
        defaults = literal_defaults(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node not in defaults:
                first, dot, rest = called_name(node).partition(".")
                if aliases.get(first, first) + dot + rest in TEXT_MAKERS:
                    findings.append(f"{module.name}:{node.lineno}: text() outside sql/ and db/")
            glued = glued_text(node)
            if glued is not None and SQL_START.match(glued):
                findings.append(f"{module.name}:{node.lineno}: SQL built from strings")  # type: ignore[attr-defined]
    return findings


def literal_defaults(tree: ast.Module) -> set[ast.AST]:
    """The calls with one literal that are the value of a `server_default=`."""
    values = {n.value for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg == "server_default"}
    return {v for v in values if isinstance(v, ast.Call) and all(isinstance(a, ast.Constant) for a in v.args)}


def third_party_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name of a module stands for, as a dotted path."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def glued_text(node: ast.AST) -> str | None:
    """The literal start of a string that is an f-string, a sum, a `%` or a `.format()`; else None."""
    match node:
        case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]) if len(node.values) > 1:
            return start
        case ast.BinOp(left=ast.Constant(value=str(start)), op=ast.Add() | ast.Mod()):
            return start
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(start)), attr="format")):
            return start
        case _:
            return None


def only_commands_print(modules: Modules) -> list[str]:
    """Output is a log event or a response; only cli/ writes to the terminal."""
    return [
        f"{module.name}:{node.lineno}: print()"
        for module in modules.values()
        if module.room != "cli"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and called_name(node) == "print"
    ]


RULES: list[Rule] = [
    levels_go_down,
    no_cycles,
    no_hidden_imports,
    modules_are_small,
    functions_are_small,
    classes_are_small,
    sql_text_has_one_home,
    only_commands_print,
]

LONG_FUNCTION = "def f():\n" + "    pass\n" * 70
WIDE_CLASS = "class A:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(21))
LAZY = "def f():\n    "

BAD: list[tuple[Rule, Modules, str]] = [
    (levels_go_down, sample(garage=""), "garage"),
    (levels_go_down, sample(garage__car=""), "garage"),
    (levels_go_down, sample(schema="from backstay import engine", engine=""), "backstay.engine"),
    (levels_go_down, sample(schema="from backstay import engine"), "backstay.engine"),
    (levels_go_down, sample(query__ir="from ..engine import read", engine=""), "backstay.engine"),
    (levels_go_down, sample(schema="from backstay import Backstay", top=""), "imports backstay,"),
    (levels_go_down, sample(sql="if TYPE_CHECKING:\n    import backstay.engine"), "backstay.engine"),
    (levels_go_down, sample(rest__routes="import backstay.live.sse"), "front end"),
    (no_cycles, sample(sql__a="from backstay.sql import b", sql__b="from . import a"), "cycle"),
    (no_cycles, sample(sql__a="from .b import x", sql__b="if TYPE_CHECKING:\n    from .a import y"), "cycle"),
    (no_hidden_imports, sample(rest__a=LAZY + "from backstay.errors import E"), "rest.a.f"),
    (no_hidden_imports, sample(rest__a=LAZY + "import_module('backstay.errors')"), "rest.a.f"),
    (no_hidden_imports, sample(rest__a="def __getattr__(n):\n    import backstay.errors"), "__getattr__"),
    (modules_are_small, sample(errors="x = 1"), "docstring"),
    (modules_are_small, sample(errors='"""Errors."""\n' + "x = 1\n" * 400), "401 lines"),
    (functions_are_small, sample(errors=LONG_FUNCTION), "71 lines"),
    (functions_are_small, sample(errors="def f(a, b, c, d, /, e, f, g): ..."), "7 positional"),
    (classes_are_small, sample(errors=WIDE_CLASS), "21 methods"),
    (sql_text_has_one_home, sample(jobs="from sqlalchemy import text\ntext('SELECT 1')"), "jobs:2: text()"),
    (sql_text_has_one_home, sample(jobs="import sqlalchemy as sa\nsa.text('SELECT 1')"), "text()"),
    (sql_text_has_one_home, sample(jobs="from sqlalchemy import text\nC(server_default=text(x))"), "text()"),
    (sql_text_has_one_home, sample(jobs="f'SELECT {x} FROM t'"), "from strings"),
    (sql_text_has_one_home, sample(jobs="f'INSERT INTO {t} VALUES'"), "from strings"),
    (sql_text_has_one_home, sample(jobs="'DELETE FROM %s' % t"), "from strings"),
    (sql_text_has_one_home, sample(jobs="'UPDATE ' + t"), "from strings"),
    (sql_text_has_one_home, sample(jobs="'SELECT {}'.format(x)"), "from strings"),
    (only_commands_print, sample(jobs="print('hello')"), "print()"),
]

GOOD: list[Modules] = [
    sample(engine="from backstay import errors\nfrom .schema import model", errors="", schema__model=""),
    sample(rest="from .routes import r", rest__routes="from .params import p", rest__params=""),
    sample(cli__serve=LAZY + "import backstay.app\n    print('served')", app=""),
    sample(top="def __getattr__(name):\n    from backstay.app import Backstay", app=""),
    sample(errors="def f(self, a, b, c, d, e, f, *, g, h): ...\ndef g():\n" + "    pass\n" * 69),
    sample(jobs="f'DELETE {path}'\nresponse.text()\nf'selected {x}'", rest="'SELECT 1'"),
    sample(schema="import sqlalchemy as sa\nC(server_default=sa.text('1'))"),
    sample(sql="from sqlalchemy import text\ntext('SELECT 1')\nf'SELECT {x}'"),
]


@pytest.mark.parametrize("rule", RULES)
def test_source_keeps_the_rule(rule: Rule) -> None:
    """The package breaks none of the rules; each finding names the place and the limit."""
    assert rule(read_source()) == []


@pytest.mark.parametrize(("rule", "modules", "finding"), BAD)
def test_rule_sees_a_bad_sample(rule: Rule, modules: Modules, finding: str) -> None:
    """Each rule finds what it is for, and says it in one finding."""
    findings = rule(modules)
    assert len(findings) == 1, findings
    assert finding in findings[0]


@pytest.mark.parametrize("modules", GOOD)
def test_rules_are_quiet_on_a_good_sample(modules: Modules) -> None:
    """No rule but the docstring's objects to what the rules allow."""
    assert [f for rule in RULES if rule is not modules_are_small for f in rule(modules)] == []


def test_every_rule_has_a_bad_sample() -> None:
    """A new rule comes with its self-test, and the source is really read."""
    assert {rule for rule, _, _ in BAD} == set(RULES)
    assert "backstay" in read_source()
