"""Rounds: start every server, verify it, then give each the same load in turn, case by case.

Round-robin inside a case, so that noise of the machine falls on all servers alike.
"""

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import checks, process
from benchmarks.load import ROOT, Generator, Load
from benchmarks.pocketbase import pocketbase
from benchmarks.process import ColdStart, Server, ServerError
from benchmarks.target import Target, Templates, backstay, bare, django, fastapi, litestar
from benchmarks.workload import CLIENTS, Case, Request

Say = Callable[[str], None]

MAIN = ("backstay", "bare")
PEERS = ("fastapi", "litestar", "django", "pocketbase", "pocketbase-nolog")


@dataclass(frozen=True, slots=True)
class Settings:
    """One run."""

    servers: Sequence[str]
    cases: Sequence[Case]
    rounds: int
    seconds: float
    warmup_s: float
    cold_starts: int
    directory: Path
    pin: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One server, one case, one round."""

    cpu_us: float
    requests_s: float
    p50_us: float
    p99_us: float


@dataclass(slots=True)
class Figures:
    """All that was measured of one server."""

    title: str
    cold_starts: list[ColdStart] = field(default_factory=list)
    idle_rss: int = 0
    loaded_rss: int = 0
    samples: dict[Case, list[Sample]] = field(default_factory=dict)

    def cpu_min(self, case: Case) -> float:
        """Return the least CPU µs per request over the rounds."""
        return min(sample.cpu_us for sample in self.samples[case])

    def median(self, case: Case, what: str) -> float:
        """Return the median over the rounds of one attribute of the samples."""
        return statistics.median(getattr(sample, what) for sample in self.samples[case])


def prepare(names: Sequence[str], directory: Path, say: Say) -> list[Target]:
    """Make the data of each server anew."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    templates = Templates(directory)
    makers: dict[str, Callable[[], Target]] = {
        "backstay": lambda: backstay(templates),
        "bare": lambda: bare(templates),
        "fastapi": lambda: fastapi(templates),
        "litestar": lambda: litestar(templates),
        "django": lambda: django(templates),
        "pocketbase": lambda: pocketbase(directory, name="pocketbase", request_log=True),
        "pocketbase-nolog": lambda: pocketbase(directory, name="pocketbase-nolog", request_log=False),
    }
    targets: list[Target] = []
    for name in names:
        say(f"data for {name}")
        targets.append(makers[name]())
    return targets


def start(
    target: Target, directory: Path, cpus: set[int] | None, port: int | None = None
) -> tuple[Server, ColdStart]:
    """Start a server and wait for its first answers."""
    port = port or process.free_port()
    server = process.start(
        target.name,
        target.command(port),
        port=port,
        env=target.env,
        cwd=ROOT,
        log=directory / f"{target.name}.log",
        cpus=cpus,
    )
    try:
        cold = process.wait_until_answers(server, target.requests["E"][0].render(), target.requests["A"][0].render())
    except BaseException:
        server.stop()
        raise
    return server, cold


def run(settings: Settings, say: Say) -> dict[str, Figures]:
    """Measure, and return the figures by server name."""
    cores = process.cores() if settings.pin else None
    server_cpus, load_cpus = cores or (None, None)
    targets = prepare(settings.servers, settings.directory, say)
    tops = checks.expected_tops()
    figures = {target.name: Figures(target.title) for target in targets}
    generator = Generator(load_cpus)
    running: list[tuple[Target, Server]] = []
    try:
        for target in targets:
            say(f"cold start of {target.name}")
            for _ in range(settings.cold_starts - 1):
                server, cold = start(target, settings.directory, server_cpus)
                figures[target.name].cold_starts.append(cold)
                server.stop()
            server, cold = start(target, settings.directory, server_cpus)
            figures[target.name].cold_starts.append(cold)
            running.append((target, server))
            figures[target.name].idle_rss = server.rss_bytes()
            say(f"check of {target.name}")
            checks.verify(target, server, tops)
        for case in settings.cases:
            _measure_case(case, running, generator, settings, figures, say)
        for target, server in running:
            figures[target.name].loaded_rss = server.rss_bytes()
    finally:
        generator.close()
        for _, server in running:
            server.stop()
    return figures


def _measure_case(
    case: Case,
    running: list[tuple[Target, Server]],
    generator: Generator,
    settings: Settings,
    figures: dict[str, Figures],
    say: Say,
) -> None:
    requests = {target.name: [request.render() for request in target.requests[case]] for target, _ in running}
    for number in range(settings.rounds + 1):
        shift = number % len(running)  # nobody always follows the same neighbour's start of a round
        for target, server in [*running[shift:], *running[:shift]]:
            warmup = number == 0
            step = "warm-up" if warmup else f"round {number} of {settings.rounds}"
            say(f"case {case}, {step}: {target.name}")
            rows_before = checks.score_count(target.database) if case == "C" else 0
            generator.connect(
                server.port,
                requests[target.name],
                seconds=settings.warmup_s if warmup else settings.seconds,
                clients=CLIENTS,
            )
            cpu_before = server.cpu_s()
            load = generator.go()
            cpu_s = server.cpu_s() - cpu_before
            _refuse_errors(target, case, load)
            if case == "C":
                _refuse_lost_writes(target, checks.score_count(target.database) - rows_before, load.requests)
            if not warmup:
                figures[target.name].samples.setdefault(case, []).append(
                    Sample(1e6 * cpu_s / load.requests, load.requests / load.seconds, load.p50_us, load.p99_us)
                )


def _refuse_errors(target: Target, case: Case, load: Load) -> None:
    if load.errors:
        raise ServerError(
            f"{target.name} case {case}: {load.errors} of {load.requests} answers were errors; the first:\n"
            f"{load.first_error}"
        )


def _refuse_lost_writes(target: Target, stored: int, acknowledged: int) -> None:
    if stored != acknowledged:
        raise ServerError(f"{target.name} case C: {acknowledged} creates acknowledged, {stored} rows in the file")


def serve(name: str, directory: Path, port: int, say: Say) -> None:
    """Start one server on fresh data, print what to try, and wait until interrupted."""
    (target,) = prepare([name], directory, say)
    server, cold = start(target, directory, None, port)
    say(f"{target.title}: process {server.process.pid}, first answer after {cold.health_ms:.0f} ms. Try:")
    try:
        for requests in target.requests.values():
            say(curl(port, requests[0]))
        while server.process.poll() is None:
            time.sleep(0.5)
        raise ServerError(f"{name} ended:\n{server.log_tail()}")
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.stop()


def curl(port: int, request: Request) -> str:
    """Return the request as a command line."""
    address = f"http://127.0.0.1:{port}{request.path}".replace("'", "%27")
    parts = ["curl", "-g", "-i"]
    if request.token:
        parts += ["-H", f"'Authorization: Bearer {request.token}'"]
    if request.body is not None:
        parts += ["-H", "'Content-Type: application/json'", "-d", f"'{json.dumps(request.body)}'"]
    return " ".join([*parts, f"'{address}'"])
