"""A judge whose model name says how it behaves: run as a pod of the evaluator's image.

    slow     a right verdict, after SECONDS
    garbage  words, no verdict
    blank    nothing

Needs aiohttp and nothing of this repository: its text is the pod's command.
"""

import asyncio

from aiohttp import web

SECONDS = 3.0
REPLIES = {
    "slow": '{"reason": "as expected", "score": 1}',
    "garbage": "Both are fine!",
    "blank": "",
}


async def judge(request: web.Request) -> web.Response:
    """POST /v1/chat/completions."""
    model = (await request.json())["model"]
    if model == "slow":
        await asyncio.sleep(SECONDS)
    message = {"role": "assistant", "content": REPLIES[model]}
    return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/v1/chat/completions", judge)
    web.run_app(app, port=8000)
