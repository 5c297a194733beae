"""A network that fails silently: a proxy in front of a server, in which bytes can vanish."""

import contextlib
import socket
import threading
import time


class BlackHole:
    """Forwards bytes both ways. While it swallows, they vanish without a refusal, a reset or an end."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._swallowing_until = 0.0
        self.swallowed_bytes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def swallow(self, seconds: float) -> None:
        """Permanently break every connection that is open now or opened within `seconds`."""
        self._swallowing_until = time.monotonic() + seconds

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        born = time.monotonic()
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, sink, born), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, born: float) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                if born >= self._swallowing_until:
                    sink.sendall(content)
                else:
                    self.swallowed_bytes += len(content)
        while born < self._swallowing_until and time.monotonic() < self._swallowing_until + 60:
            time.sleep(0.5)  # nor does it see the other side close
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        source.close()
