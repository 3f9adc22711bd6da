"""A mutating webhook that gives chosen pods one more environment variable, as a platform team
points pods at a mirror of its own: the product has no setting for each variable of each library.

MutatingAdmissionPolicy would need no server, but is off by default before Kubernetes 1.36.
"""

import base64
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kubernetes import client

from qwen3_local.certificates import Identity, encode, ensure_certificates


def patch_of(pod: Mapping[str, Any], name: str, value: str) -> list[dict[str, Any]]:
    """JSON patch that adds a variable to every container. Ours always have an `env`."""
    return [
        {
            "op": "add",
            "path": f"/spec/containers/{number}/env/-",
            "value": {"name": name, "value": value},
        }
        for number, _ in enumerate(pod["spec"]["containers"])
    ]


def _handler(name: str, value: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = review["request"]
            patch = json.dumps(patch_of(request["object"], name, value)).encode()
            answer = {
                "uid": request["uid"],
                "allowed": True,
                "patchType": "JSONPatch",
                "patch": base64.b64encode(patch).decode(),
            }
            body = json.dumps(
                {"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    return Handler


@contextmanager
def added_environment(
    api: client.ApiClient, labels: Mapping[str, str], name: str, value: str, folder: Path
) -> Iterator[None]:
    """Pods with these labels that are created in the block get the variable. The API server runs on
    this machine. `folder` takes the certificates."""
    ensure_certificates(folder, [Identity("hook", "hook", alternative_names=("IP:127.0.0.1",))])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "hook.crt", folder / "hook.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(name, value))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    admission = client.AdmissionregistrationV1Api(api)
    metadata = {"name": "e2e-pod-environment"}
    admission.create_mutating_webhook_configuration(
        {
            "metadata": metadata,
            "webhooks": [
                {
                    "name": "environment.e2e.qwen3.dev",
                    "clientConfig": {
                        "url": f"https://127.0.0.1:{server.server_port}/",
                        "caBundle": encode(folder / "ca.crt"),
                    },
                    "rules": [
                        {
                            "apiGroups": [""],
                            "apiVersions": ["v1"],
                            "operations": ["CREATE"],
                            "resources": ["pods"],
                        }
                    ],
                    "objectSelector": {"matchLabels": dict(labels)},
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    # Other pods don't wait for this one.
                    "timeoutSeconds": 5,
                }
            ],
        }
    )
    try:
        yield
    finally:
        admission.delete_mutating_webhook_configuration(metadata["name"])
        server.shutdown()
        server.server_close()
