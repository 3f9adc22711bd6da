"""An error that the gateway answers in vLLM's place."""

import json
from dataclasses import dataclass

from qwen3_server.gateway.request_body import Headers


@dataclass(frozen=True)
class Refusal:
    """An error in OpenAI's shape."""

    status: int
    code: str
    message: str
    param: str | None = None
    headers: Headers = ()

    def body(self) -> bytes:
        """The JSON that OpenAI's clients parse into their exceptions."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, ensure_ascii=False).encode(errors="replace")
