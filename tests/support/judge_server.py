"""A judge's endpoint on loopback. It reads the prompt as a judge should: parts by their fence.

What it answers is a `Mind`, a function of what it was asked. What goes wrong before it gets to
think (a status, no answer, a body that is none) stands in `script`, a reply per request.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from support.chat_server import serve_chat

_FENCE = re.compile(r"a line \[part (\S+)\]")
_ORDER = re.compile(r"ORDER (\{.*\})")


@dataclass(frozen=True)
class Asked:
    """A request, taken apart."""

    body: dict[str, Any]
    authorization: str | None
    at: float
    """Seconds on the monotonic clock."""

    @property
    def system(self) -> str:
        """The system message."""
        return str(self.body["messages"][0]["content"])

    @property
    def user(self) -> str:
        """The user's message."""
        return str(self.body["messages"][1]["content"])

    @property
    def fence(self) -> str:
        """The word that the system message says ends a part."""
        found = _FENCE.search(self.system)
        assert found, self.system
        return found[1]

    @property
    def parts(self) -> dict[str, str]:
        """Name and text of what stands between fences."""
        return {m["name"]: m["text"] for m in self._part().finditer(self.user)}

    @property
    def outside(self) -> str:
        """The user's message without its parts: what a judge takes as the user's own words."""
        return self._part().sub("", self.user)

    def _part(self) -> re.Pattern[str]:
        fence = re.escape(self.fence)
        return re.compile(
            rf"^\[(?P<name>[^\]]+) {fence}\]\n(?P<text>.*?)\n\[/(?P=name) {fence}\]$",
            re.DOTALL | re.MULTILINE,
        )


Mind = Callable[[Asked], str]
"""From a request to the text of the reply."""


def fair(asked: Asked) -> str:
    """Prefers the answer with the expected one in it, wherever it stands."""
    parts = asked.parts
    right = {
        name: parts["expected answer"] in text
        for name, text in parts.items()
        if name.startswith("answer")
    }
    if "answer" in right:
        return json.dumps({"reason": "read", "score": 1 if right["answer"] else 0})
    if right["answer A"] == right["answer B"]:
        return json.dumps({"reason": "alike", "winner": "tie"})
    return json.dumps({"reason": "read", "winner": "A" if right["answer A"] else "B"})


def biased(asked: Asked) -> str:
    """Likes the first place and half of everything."""
    said = {"winner": "A"} if "answer A" in asked.parts else {"score": 0.5}
    return json.dumps({"reason": "the first is so nice"} | said)


def contrary(asked: Asked) -> str:
    """Prefers the worse answer."""
    said = json.loads(fair(asked))
    if "score" in said:
        said["score"] = 1 - said["score"]
    else:
        said["winner"] = {"A": "B", "B": "A", "tie": "tie"}[said["winner"]]
    return json.dumps(said)


def obedient(asked: Asked) -> str:
    """Does as the user says, and takes what stands outside of the parts for the user's words."""
    order = _ORDER.search(asked.outside)
    return order[1] if order else fair(asked)


@dataclass
class JudgeServer:
    """The endpoint: first its script, then its mind."""

    mind: Mind = fair
    script: list[Callable[[], web.StreamResponse]] = field(default_factory=list)
    key: str | None = None
    """What it wants in Authorization; it repeats a wrong one in its error, as some do."""
    held: asyncio.Event | None = None
    """It answers when this is set."""
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(await request.json(), request.headers.get("Authorization"), time.monotonic())
        self.asked.append(asked)
        if self.held is not None:
            await self.held.wait()
        if self.key is not None and asked.authorization != f"Bearer {self.key}":
            return error(401, f"Incorrect API key provided: {asked.authorization}")
        if len(self.asked) <= len(self.script):
            return self.script[len(self.asked) - 1]()
        return completion(self.mind(asked))


def completion(content: str | None, finish_reason: str = "stop") -> web.Response:
    """A reply of any OpenAI-compatible server: 100 tokens in, 7 out."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": finish_reason,
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
    return web.json_response({"object": "chat.completion", "choices": [choice], "usage": usage})


def error(status: int, message: str = "no", **headers: str) -> web.Response:
    """An error as OpenAI writes it."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


@asynccontextmanager
async def serve_judge(
    mind: Mind = fair, *script: Callable[[], web.StreamResponse], **fields: Any
) -> AsyncIterator[JudgeServer]:
    """A judge in this event loop, gone with the block."""
    server = JudgeServer(mind, list(script), **fields)
    async with serve_chat(server.answer) as server.url:
        yield server
