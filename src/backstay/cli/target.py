"""From a command-line TARGET to an app: `module:app`, a Python file, or a database URL."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ..app import Backstay
from ..config import Config
from ..errors import OperatorError, perhaps

DEFAULTS = ("app.py", "main.py")


def load_app(target: str = "", *, database: str | None = None) -> Backstay:
    """The app that a target names.

    Raises:
        OperatorError: no such file or module, a file that does not run, no app in it, or several.
    """
    if "://" in target:
        raise OperatorError("existing databases come with reflection")
    if not target:
        target = next((name for name in DEFAULTS if Path(name).is_file()), "")
        if not target:
            raise OperatorError(f"No {' or '.join(DEFAULTS)} here: name a file, module:app or a database URL.")
    path, _, variable = target.partition(":")
    module = _from_file(Path(path)) if path.endswith(".py") else _from_module(path)
    app = _pick(module, variable, target)
    if database:
        app.configure(database_url=database)
    return app


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise OperatorError(f"There is no file {path}.")
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise OperatorError(f"{path}:{error.lineno}: {error.msg}.") from None
    return module


def _from_module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise OperatorError(
            f"There is no module {error.name!r}: name a file, module:app or a database URL."
        ) from None


def _pick(module: ModuleType, variable: str, target: str) -> Backstay:
    found: dict[str, Any] = {n: v for n, v in vars(module).items() if isinstance(v, Backstay)}
    name = variable or ("app" if "app" in found else next(iter(found), ""))
    if name not in found:
        hint = perhaps(variable, found, noun="app") if variable else "Assign one: app = Backstay(...)."
        raise OperatorError(f"{target} has no Backstay app. {hint}")
    return found[name]


__all__ = ["Config", "load_app"]
