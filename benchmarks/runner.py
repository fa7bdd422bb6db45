"""Rounds: start every server, verify it, then give each the same load in turn, case by case.

Round-robin inside a case, so that noise of the machine falls on all servers alike.
"""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import blocks, checks, process
from benchmarks.blocks import Block, Say
from benchmarks.load import ROOT, Generator, Load
from benchmarks.process import ColdStart, Server, ServerError
from benchmarks.target import Target
from benchmarks.workload import CLIENTS, Case, Request


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
    postgres: bool = False  # the block on one PostgreSQL server instead of the block on SQLite files


@dataclass(frozen=True, slots=True)
class Sample:
    """One server, one case, one round."""

    cpu_us: float
    requests_s: float
    p50_us: float
    p99_us: float
    database_us: float = 0.0  # CPU µs per request of the database server beside it


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

    def database_min(self, case: Case) -> float:
        """Return the least CPU µs per request of the database server over the rounds."""
        return min(sample.database_us for sample in self.samples[case])

    def median(self, case: Case, what: str) -> float:
        """Return the median over the rounds of one attribute of the samples."""
        return statistics.median(getattr(sample, what) for sample in self.samples[case])


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
    server_cpus, load_cpus = (process.cores() if settings.pin else None) or (None, None)
    with blocks.opened(
        settings.servers, settings.directory, say, postgres=settings.postgres, cpus=load_cpus
    ) as block:
        generator = Generator(load_cpus)
        try:
            return Run(settings, block, generator, server_cpus, say).measure()
        finally:
            generator.close()


class Run:
    """One block of servers, started side by side and loaded in turn."""

    def __init__(
        self, settings: Settings, block: Block, generator: Generator, server_cpus: set[int] | None, say: Say
    ) -> None:
        self._settings, self._block, self._generator = settings, block, generator
        self._cpus, self._say = server_cpus, say
        self._running: list[tuple[Target, Server]] = []
        self._figures = {target.name: Figures(target.title) for target in block.targets}

    def measure(self) -> dict[str, Figures]:
        """Start all, give each case to each, stop all."""
        tops = checks.expected_tops()
        try:
            for target in self._block.targets:
                self._start(target, tops)
            for case in self._settings.cases:
                self._measure_case(case)
            for target, server in self._running:
                self._figures[target.name].loaded_rss = server.rss_bytes()
        finally:
            for _, server in self._running:
                server.stop()
        return self._figures

    def _start(self, target: Target, tops: dict[int, list[int]]) -> None:
        self._say(f"cold start of {target.name}")
        found, directory = self._figures[target.name], self._settings.directory
        for _ in range(self._settings.cold_starts - 1):
            server, cold = start(target, directory, self._cpus)
            found.cold_starts.append(cold)
            server.stop()
        server, cold = start(target, directory, self._cpus)
        found.cold_starts.append(cold)
        self._running.append((target, server))
        found.idle_rss = server.rss_bytes()
        self._say(f"check of {target.name}")
        checks.verify(target, server, tops)

    def _measure_case(self, case: Case) -> None:
        requests = {target.name: [one.render() for one in target.requests[case]] for target, _ in self._running}
        rounds = self._settings.rounds
        for number in range(rounds + 1):
            shift = number % len(self._running)  # nobody always follows the same neighbour's start of a round
            for target, server in [*self._running[shift:], *self._running[:shift]]:
                warmup = number == 0
                step = "warm-up" if warmup else f"round {number} of {rounds}"
                self._say(f"case {case}, {step}: {target.name}")
                rows_before = target.database.score_count() if case == "C" else 0
                seconds = self._settings.warmup_s if warmup else self._settings.seconds
                sample, load = self._sample(server, requests[target.name], seconds)
                _refuse_errors(target, case, load)
                if case == "C":
                    _refuse_lost_writes(target, target.database.score_count() - rows_before, load.requests)
                if not warmup:
                    self._figures[target.name].samples.setdefault(case, []).append(sample)

    def _sample(self, server: Server, requests: list[bytes], seconds: float) -> tuple[Sample, Load]:
        """Load one server once, between two readings of the CPU times."""
        database_cpu_s = self._block.database_cpu_s or no_database
        self._generator.connect(server.port, requests, seconds=seconds, clients=CLIENTS)
        database_before, before = database_cpu_s(), server.cpu_s()
        load = self._generator.go()
        cpu_s, database_s = server.cpu_s() - before, database_cpu_s() - database_before
        rate = load.requests / load.seconds
        return (
            Sample(1e6 * cpu_s / load.requests, rate, load.p50_us, load.p99_us, 1e6 * database_s / load.requests),
            load,
        )


def no_database() -> float:
    """Stand for the CPU time of a database server where there is none."""
    return 0.0


def _refuse_errors(target: Target, case: Case, load: Load) -> None:
    if load.errors:
        raise ServerError(
            f"{target.name} case {case}: {load.errors} of {load.requests} answers were errors; the first:\n"
            f"{load.first_error}"
        )


def _refuse_lost_writes(target: Target, stored: int, acknowledged: int) -> None:
    if stored != acknowledged:
        raise ServerError(f"{target.name} case C: {acknowledged} creates acknowledged, {stored} rows stored")


def serve(name: str, directory: Path, port: int, say: Say, *, postgres: bool) -> None:
    """Start one server on fresh data, print what to try, and wait until interrupted."""
    with blocks.opened([name], directory, say, postgres=postgres, cpus=None) as block:
        (target,) = block.targets
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
