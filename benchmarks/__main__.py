"""`python -m benchmarks`: run the workload against the servers and print the tables."""

import argparse
import functools
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import blocks, report, runner
from benchmarks.load import ROOT
from benchmarks.process import ServerError
from benchmarks.workload import CASES, Case

KNOWN = tuple(dict.fromkeys([*blocks.known(postgres=False), *blocks.known(postgres=True)]))


def server_names(text: str) -> list[str]:
    """Parse a comma-separated list of servers."""
    found = [name for name in text.split(",") if name]
    for name in found:
        if name not in KNOWN:
            raise argparse.ArgumentTypeError(f"unknown server {name!r}; known: {', '.join(KNOWN)}")
    return found


def case_names(text: str) -> list[Case]:
    """Parse a comma-separated list of cases."""
    asked = text.upper().split(",")
    for case in asked:
        if case not in CASES:
            raise argparse.ArgumentTypeError(f"unknown case {case!r}; known: {', '.join(CASES)}")
    return [case for case in CASES if case in asked]


def peers() -> str:
    """Return the default peers of both blocks for the help."""
    return f"{','.join(blocks.SQLITE_PEERS)}; with --postgres {','.join(blocks.POSTGRES_PEERS)}"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--postgres", action="store_true", help="on one PostgreSQL server instead of SQLite files")
    made.add_argument("--quick", action="store_true", help="all servers within 3 minutes; noisier")
    made.add_argument("--peers", type=server_names, help=f"peers beside backstay and bare (default: {peers()})")
    made.add_argument("--only", type=server_names, help="exactly these servers, also without backstay and bare")
    made.add_argument("--cases", type=case_names, default=list(CASES), help="default A,B,C,D,E")
    made.add_argument("--rounds", type=int, help="rounds per case (default 7; quick 3)")
    made.add_argument("--seconds", type=float, help="seconds per round (default 2; quick 0.7)")
    made.add_argument("--no-pin", action="store_true", help="do not give server and load one core each")
    made.add_argument(
        "--directory",
        type=Path,
        default=ROOT / ".data" / "benchmarks",
        help="its folders run/ and serve/ are emptied",
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to this file")
    made.add_argument("--markdown", action="store_true", help="print the README's table")
    made.add_argument("--serve", metavar="NAME", choices=KNOWN, help="only start this server with data, and wait")
    made.add_argument("--port", type=int, default=8_100, help="the port of --serve (default 8100)")
    return made


def settings_of(options: argparse.Namespace) -> runner.Settings:
    """Turn parsed options into the settings of a run."""
    names = blocks.names(postgres=options.postgres)
    chosen = options.only or (names if options.peers is None else [*blocks.MAIN, *options.peers])
    refuse_other_block(chosen, options)
    return runner.Settings(
        servers=list(dict.fromkeys(chosen)),
        cases=options.cases,
        rounds=options.rounds or (3 if options.quick else 7),
        seconds=options.seconds or (0.7 if options.quick else 2.0),
        warmup_s=0.3 if options.quick and not options.postgres else 1.0,  # V8 compiles what is hot only after a while
        cold_starts=3 if options.quick else 5,
        directory=options.directory.resolve() / "run",
        pin=not options.no_pin,
        postgres=options.postgres,
    )


def refuse_other_block(chosen: Sequence[str], options: argparse.Namespace) -> None:
    """Raise ServerError for a server that does not run on this block's database."""
    known = blocks.known(postgres=options.postgres)
    if strange := [name for name in chosen if name not in known]:
        where = "with" if options.postgres else "without"
        raise ServerError(f"{', '.join(strange)} cannot run {where} --postgres; there are: {', '.join(known)}")


def main() -> int:
    """Run; return the exit code."""
    options = parser().parse_args()
    console, progress = Console(), Console(stderr=True)
    began_s = time.perf_counter()
    try:
        if options.serve:
            refuse_other_block([options.serve], options)
            directory = options.directory.resolve() / "serve"
            say = functools.partial(print, flush=True)
            runner.serve(options.serve, directory, options.port, say, postgres=options.postgres)
            return 0
        settings = settings_of(options)
        with progress.status("starting") as status:
            figures = runner.run(settings, say=status.update)
    except (ServerError, OSError) as failure:
        progress.print(f"benchmark failed: {failure}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        progress.print("stopped")
        return 130
    if options.json:
        options.json.write_text(json.dumps(report.as_json(figures, settings), indent=2) + "\n")
    if options.markdown:
        print(report.markdown(figures, settings))
    else:
        report.show(figures, settings, console)
    progress.print(f"{time.perf_counter() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
