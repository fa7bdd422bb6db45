"""A TCP proxy in a thread, between an app and its database: it cuts, freezes and slips in bytes."""

import contextlib
import selectors
import socket
import threading
from typing import Self


class Proxy:
    """Forwards connections to a port of 127.0.0.1 until it is left."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._every: list[socket.socket] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stop = threading.Event()
        #: Whether new connections are taken, and nothing more.
        self.held = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        for end in (self._listener, *self._every):
            end.close()

    def freeze(self) -> None:
        """Forward nothing more on the connections that there are, without closing them."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(end)

    def cut(self) -> None:
        """Reset the connections that there are."""
        for pair in self._pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._pairs.clear()

    def say(self, message: bytes) -> None:
        """Send the app something that the server did not say."""
        for client, _ in self._pairs:
            with contextlib.suppress(OSError):
                client.sendall(message)

    def _run(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                if key.data is None:
                    client, _ = self._listener.accept()
                    server = socket.create_connection(("127.0.0.1", self._target))
                    self._pairs.append((client, server))
                    self._every += [client, server]
                    if not self.held:
                        self._selector.register(client, selectors.EVENT_READ, server)
                        self._selector.register(server, selectors.EVENT_READ, client)
                else:
                    self._forward(key.fileobj, key.data)
        self._selector.close()

    def _forward(self, origin: socket.socket, to: socket.socket) -> None:
        try:
            chunk = origin.recv(65_536)
            if chunk:
                to.sendall(chunk)
                return
        except OSError:
            pass
        for end in (origin, to):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            with contextlib.suppress(OSError):
                end.close()
