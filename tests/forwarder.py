"""A way to a server that can be cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress


class Forwarder:
    """A TCP port that leads to another one, and can be cut: what clients see of a server that is started again."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._cut_until = 0.0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])

    def cut(self, seconds: float) -> None:
        """End every connection, and each new one for some seconds."""
        self._cut_until = time.monotonic() + seconds
        for each in self._open:
            _close(each)
        self._open.clear()

    def __enter__(self) -> Forwarder:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut(0)
        _close(self._server)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if time.monotonic() < self._cut_until:
                _close(near)
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._open += [near, far]
            _in_thread(lambda near=near, far=far: _copy(near, far))  # type: ignore[misc]
            _in_thread(lambda near=near, far=far: _copy(far, near))  # type: ignore[misc]


def _in_thread(call: Callable[[], None]) -> None:
    threading.Thread(target=call, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65536):
            target.sendall(block)
    except OSError:
        pass
    finally:
        _close(target)


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
