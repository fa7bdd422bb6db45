"""From a command-line TARGET to an app: `module:app`, a Python file, or a database URL."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import sqlalchemy as sa

from ..app import Backstay
from ..config import Config
from ..errors import OperatorError, Problem, perhaps
from ..existing import reflect, without_schemas
from ..schema.policy import public

T = TypeVar("T")
DEFAULTS = ("app.py", "main.py")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An app and the folder of its file; None for an existing database."""

    app: Backstay
    folder: Path | None


def load_app(target: str = "", *, database: str | None = None) -> Backstay:
    """The app that a target names.

    Raises:
        OperatorError: no such file or module, a file that does not run, no app in it, or several.
    """
    return load_target(target, database=database).app


def run_with(app: Backstay, work: Callable[[], Awaitable[T]]) -> T:
    """Do something with an app in an event loop of its own, and stop the app.

    Raises:
        OperatorError: what the work refuses.
    """

    async def run() -> T:
        try:
            return await work()
        finally:
            await app.stop()

    try:
        return asyncio.run(run())
    except Problem as problem:
        raise OperatorError(problem.detail) from None


def load_target(target: str = "", *, database: str | None = None) -> Loaded:
    """The app that a target names, and where it is."""
    if "://" in target:
        return Loaded(existing_database(database or target), None)
    target = found_target(target)
    name, _, variable = target.partition(":")
    module = _from_file(Path(name)) if name.endswith(".py") else _from_module(name)
    app = _pick(module, variable, name)
    if database:
        app.configure(database_url=database)
    return Loaded(app, None if app.existing else Path(module.__file__ or ".").resolve().parent)


def found_target(target: str) -> str:
    """A target, or the file that it is by default.

    Raises:
        OperatorError: there is none.
    """
    target = target or next((name for name in DEFAULTS if Path(name).is_file()), "")
    if not target:
        raise OperatorError(f"No {' or '.join(DEFAULTS)} here: name a file, module:app or a database URL.")
    return target


def existing_database(url: str) -> Backstay:
    """An app that shows everybody every table of an existing database, and lets nobody write."""
    schema = reflect(url)
    name = Path(sa.make_url(url).database or "").stem
    config = Config.from_environment(database_url=without_schemas(url))
    app = Backstay(name, config=config, schema=schema)
    for name in schema.tables:
        app.resource(name, read=public)
    return app


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise OperatorError(f"There is no file {path}.")
    path = path.resolve()
    name = path.stem
    if name in sys.stdlib_module_names or getattr(sys.modules.get(name), "__file__", str(path)) != str(path):
        name = f"backstay_target_{name}"
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _mishap(error, path.parent) from error
    return module


def _from_module(name: str) -> ModuleType:
    here = Path.cwd()
    sys.path.insert(0, str(here))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and (error.name == name or name.startswith(f"{error.name}.")):
            hint = "name a file, module:app or a database URL"
            raise OperatorError(f"There is no module {error.name!r}: {hint}.") from None
        raise _mishap(error, here) from error


def _mishap(error: BaseException, folder: Path) -> OperatorError:
    """One line for whatever a program's own file raised, with the place in the program."""
    if isinstance(error, OperatorError):
        return error
    if isinstance(error, SyntaxError):
        return OperatorError(f"{_short(error.filename or '?', folder)}:{error.lineno}: {error.msg}.")
    said = " ".join(str(error).split())[:300].rstrip(".")
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_relative_to(folder) and "site-packages" not in f.filename]
    if not own:
        return OperatorError(f"{text}.")
    return OperatorError(f"{_short(own[-1].filename, folder)}:{own[-1].lineno}: {text}.")


def _short(filename: str, folder: Path) -> str:
    path = Path(filename)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else filename


def _pick(module: ModuleType, variable: str, target: str) -> Backstay:
    found = {name: value for name, value in vars(module).items() if isinstance(value, Backstay)}
    if variable:
        if variable not in found:
            hint = perhaps(variable, found, noun="app") or "Assign one: app = Backstay(...)."
            raise OperatorError(f"{target} has no Backstay app {variable!r}. {hint}")
        return found[variable]
    if not found:
        raise OperatorError(f"{target} has no Backstay app. Assign one: app = Backstay(...).")
    if "app" not in found and len({id(app) for app in found.values()}) > 1:
        names = ", ".join(sorted(found))
        raise OperatorError(f"{target} has several apps ({names}): write {target}:{min(found)}.")
    return found["app"] if "app" in found else next(iter(found.values()))
