"""A hub that answers as the real one does about a model whose licence was not accepted."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class GatedHub(BaseHTTPRequestHandler):
    """403, whatever is asked for."""

    def do_GET(self) -> None:
        """The hub's words."""
        self.send_response(403)
        self.send_header("X-Error-Code", "GatedRepo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815  (the base class's name)

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def gated_hub(address: str = "127.0.0.1") -> Iterator[str]:
    """The hub on a free port; HF_ENDPOINT."""
    server = ThreadingHTTPServer((address, 0), GatedHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
