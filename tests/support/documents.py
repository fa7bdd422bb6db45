"""Pages that are executed as a reader would: files are written, commands run in order, answers compared.

- A block with a title (```python title="app.py") is a file; a `diff` block with a title changes that file.
- A `shell` block runs in bash; folder and environment last for the page. `backstay serve` runs until the page ends
  or serves again.
- A `json` or `text` block after a `shell` block is what it prints, where `…` stands for anything;
  ```text title="server" is part of what the server has said, and any other title makes it
  a picture.

Port 8000 of the page is a free port here.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PORT = "8000"
START_S = 60.0
COMMAND_S = 120.0
SAYS_S = 2.0
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?P<rest>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
_TITLE = re.compile(r'title="([^"]+)"')
_SERVER = re.compile(r"^backstay serve\b|^make run\b")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    language: str
    title: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    content = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _FENCE.finditer(content):
        title = _TITLE.search(match["rest"])
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.M)
        line = content.count("\n", 0, match.start()) + 1
        found.append(Block(match["language"], title[1] if title else "", text, line))
    return found


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started_at(base: str) -> float | None:
    """When the server there started; None when none answers."""
    try:
        with urllib.request.urlopen(f"{base}/metrics", timeout=5) as answer:
            found = re.search(r"^backstay_start_time_seconds (\S+)$", answer.read().decode(), re.M)
    except OSError:
        return None
    return float(found[1]) if found else None


class Walk:
    """Executes the blocks of a page in a folder; leaving it stops the server.

    Args:
        folder: where it happens.
        skip: beginnings of blocks that are not executed, each with its reason.
        environment: more variables.
    """

    def __init__(
        self, folder: Path, *, skip: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = folder.parent / f"{folder.name}.log"
        self._skip = skip or {}
        self._server: subprocess.Popen[bytes] | None = None
        self._dev = False
        own = {name: value for name, value in os.environ.items() if not name.startswith("BACKSTAY_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        port = str(self.port)
        self.environment = own | {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "BACKSTAY_PORT": port, "PORT": port}
        self.environment |= environment or {}
        self.printed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def page(self, page: Path) -> None:
        """Execute a page from its first block to its last."""
        for block in blocks_of(page):
            if any(block.text.startswith(start) for start in self._skip):
                continue
            try:
                self.block(block)
            except AssertionError as error:
                raise AssertionError(f"{page.name}:{block.line}: {error}\n{self._logged()}") from error

    def block(self, block: Block) -> None:
        """Execute one block."""
        match block.language:
            case "shell":
                self.shell(block.text)
            case "json" if not block.title:
                same_json(json.loads(self._ported(block.text)), json.loads(self.printed))
            case "text" if block.title == "server":
                assert self._says(self._ported(block.text).strip()), "the server did not say so"
            case "text" if block.title:
                pass
            case "text":
                same_text(self._ported(block.text), self.printed)
            case "diff":
                self._write(block.title, patched((self.folder / block.title).read_text(), block.text))
            case _ if block.title:
                self._write(block.title, block.text)
            case _:
                raise AssertionError(f"a {block.language or 'nameless'} block is neither a file nor a command")

    def _says(self, text: str) -> bool:
        """Whether the server has said something, or does in a moment."""
        until = time.monotonic() + SAYS_S
        while text not in self._logged() and time.monotonic() < until:
            time.sleep(0.05)
        return text in self._logged()

    def shell(self, text: str) -> None:
        """Run commands; what the last one prints is kept."""
        self.printed = ""
        lines = self._ported(text).splitlines()
        at = next((number for number, line in enumerate(lines) if _SERVER.match(line)), len(lines))
        if at:
            self._run("\n".join(lines[:at]))
        if at < len(lines):
            assert not lines[at + 1 :], "nothing can follow a server in its block"
            self.serve(lines[at])

    def serve(self, command: str) -> None:
        """Start a server, in place of one that runs, and wait until it answers."""
        self.stop()
        self._dev = "--dev" in command
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        self._wait(None)

    def stop(self) -> None:
        """Stop the server as Ctrl-C does."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait(30)

    def _run(self, script: str) -> None:
        state = self.folder.parent / f"{self.folder.name}.state"
        # Each page is one terminal: its folder and exported variables outlast the block.
        script = f"trap 'pwd > {state}; env -0 >> {state}' EXIT\n{script}"
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{script}\n{done.stdout}{done.stderr}"
        folder, _, variables = state.read_text().partition("\n")
        self.folder = Path(folder)
        self.environment = dict(pair.split("=", 1) for pair in variables.split("\0") if "=" in pair)
        self.printed = done.stdout

    def _write(self, name: str, text: str) -> None:
        before = started_at(self.base) if self._dev and self._server else None
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(self._ported(text), encoding="utf-8")
        if before is not None:
            self._wait(before)

    def _wait(self, before: float | None) -> None:
        """Until a server answers that is not the one which started `before`."""
        assert self._server is not None, "a server was started"
        deadline = time.monotonic() + START_S
        while (now := started_at(self.base)) is None or now == before:
            assert self._server.poll() is None, f"the server ended\n{self._logged()}"
            assert time.monotonic() < deadline, f"no answer from the server\n{self._logged()}"
            time.sleep(0.05)

    def _logged(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def _ported(self, text: str) -> str:
        return text.replace(f":{PORT}", f":{self.port}")


def same_json(expected: Any, actual: Any, where: str = "$") -> None:
    """Assert that they are equal; `"…"` stands for any value, and at an end of a list for any more items."""
    if expected == "…":
        return
    if isinstance(expected, dict) and isinstance(actual, dict):
        assert list(expected) == list(actual), f"{where}: {list(expected)} != {list(actual)}"
        for name, value in expected.items():
            same_json(value, actual[name], f"{where}.{name}")
    elif isinstance(expected, list) and isinstance(actual, list):
        more = expected[-1:] == ["…"]
        wanted = expected[:-1] if more else expected
        assert len(actual) > len(wanted) if more else len(actual) == len(wanted), f"{where}: {len(actual)} items"
        for number, value in enumerate(wanted):
            same_json(value, actual[number], f"{where}[{number}]")
    elif isinstance(expected, str) and isinstance(actual, str):
        assert matches(expected, actual), f"{where}: {expected!r} != {actual!r}"
    else:
        assert expected == actual, f"{where}: {expected!r} != {actual!r}"


def same_text(expected: str, actual: str) -> None:
    """Assert that they are equal line by line."""
    assert matches(expected.rstrip(), actual.rstrip()), f"expected:\n{expected}\nprinted:\n{actual}"


def matches(expected: str, actual: str) -> bool:
    """Whether the text is as expected, where `…` stands for anything."""
    return re.fullmatch(".*?".join(re.escape(part) for part in expected.split("…")), actual, re.S) is not None


def patched(text: str, diff: str) -> str:
    """A file with a diff applied, whose unchanged lines say where.

    Example:
        >>> patched("a\\nb\\n", " a\\n+c\\n")
        'a\\nc\\nb\\n'
    """
    lines = diff.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    assert text.count(old) == 1, f"the diff's unchanged lines are in the file {text.count(old)} times:\n{old}"
    return text.replace(old, new)


def copied(example: str, folder: Path) -> Path:
    """A copy of an example's folder without what running it left there."""
    return shutil.copytree(ROOT / "examples" / example, folder, ignore=shutil.ignore_patterns(".data", "__pycache__"))


def pages(*folders: str) -> Iterator[Path]:
    """The pages in folders below the root."""
    for folder in folders:
        yield from sorted((ROOT / folder).glob("*.md"))
