"""Fastify as a peer: its program copied to the run directory, its pinned packages installed beside it by npm."""

import shutil
import subprocess
from pathlib import Path

from benchmarks.database import Database
from benchmarks.process import ServerError
from benchmarks.target import Target, peer_env
from benchmarks.workload import rest_requests

SOURCE = Path(__file__).parent / "apps" / "fastify"
INSTALL = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline", "--loglevel=error")
INSTALL_S_MAX = 180.0
PIPELINED_CONNECTIONS = 2


def fastify(database: Database, home: Path, *, pipelined: bool = False) -> Target:
    """Install it into `home` unless it is there, and return the target.

    Args:
        database: its own.
        home: a folder of the run directory.
        pipelined: reads share two connections through the driver's `pipeline` option; otherwise a pool of ten.
    """
    if not home.exists():
        install(home)
    env = {**peer_env(database), "NODE_ENV": "production"}
    return Target(
        name="fastify-pipelined" if pipelined else "fastify",
        title="Fastify + pg, hand-written SQL" + (", pipelined" if pipelined else ""),
        database=database,
        command=lambda port: ["node", str(home / "server.js"), str(port)],
        requests=rest_requests(),
        env={**env, "BENCH_PIPELINED": str(PIPELINED_CONNECTIONS)} if pipelined else env,
    )


def install(home: Path) -> None:
    """Copy the program and let npm fetch what it needs."""
    shutil.copytree(SOURCE, home)
    try:
        installed = subprocess.run(INSTALL, cwd=home, capture_output=True, timeout=INSTALL_S_MAX, check=False)
    except FileNotFoundError:
        raise ServerError("fastify needs Node.js 20 or later, with npm, on the PATH; or leave it out") from None
    except subprocess.TimeoutExpired:
        raise ServerError(f"npm installed nothing within {INSTALL_S_MAX:g} s") from None
    if installed.returncode != 0:
        raise ServerError(f"npm install failed:\n{installed.stderr.decode(errors='replace')[-2_000:]}")
