"""The site behind the proxy in end-to-end tests.

    GET  /socket        a WebSocket that sends back what it gets
    GET  /stream        a line of text every quarter of a second, `?lines=` of them
    GET  /events        the same as server-sent events
    GET  /large         `?bytes=` bytes of text that compresses well
    POST /upload        tells the number of bytes and their SHA-256
    any  anything else  tells the request line and the headers as they arrived

Every answer has the header `X-Application` with the name in the environment variable `NAME`, and what is told
has the name of the container's host.
"""

import asyncio
import hashlib
import os
import platform

from aiohttp import WSMsgType, web

NAME = os.environ.get("NAME", "application")
HOST = platform.node()
PAUSE = 0.25


async def socket(request: web.Request) -> web.WebSocketResponse:
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    async for message in answer:
        if message.type is WSMsgType.TEXT:
            await answer.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await answer.send_bytes(message.data)
    return answer


async def stream(request: web.Request) -> web.StreamResponse:
    return await _lines(request, "text/plain", "line {}\n")


async def events(request: web.Request) -> web.StreamResponse:
    return await _lines(request, "text/event-stream", "data: line {}\n\n")


async def _lines(request: web.Request, kind: str, form: str) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": kind})
    await answer.prepare(request)
    for number in range(int(request.query.get("lines", "8"))):
        await answer.write(form.format(number).encode())
        await asyncio.sleep(PAUSE)
    return answer


async def large(request: web.Request) -> web.Response:
    return web.Response(text="flatrun " * (int(request.query["bytes"]) // 8))


async def upload(request: web.Request) -> web.Response:
    size, digest = 0, hashlib.sha256()
    async for part in request.content.iter_any():
        size += len(part)
        digest.update(part)
    return web.json_response({"bytes": size, "sha256": digest.hexdigest()})


async def echo(request: web.Request) -> web.Response:
    headers = [[name.decode(), value.decode()] for name, value in request.raw_headers]
    return web.json_response(
        {
            "name": NAME,
            "host": HOST,
            "method": request.method,
            "target": request.raw_path,
            "headers": headers,
        }
    )


async def sign(request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers["X-Application"] = NAME


def application() -> web.Application:
    made = web.Application(client_max_size=0)
    made.on_response_prepare.append(sign)
    made.router.add_get("/socket", socket)
    made.router.add_get("/stream", stream)
    made.router.add_get("/events", events)
    made.router.add_get("/large", large)
    made.router.add_post("/upload", upload)
    made.router.add_route("*", "/{path:.*}", echo)
    return made


if __name__ == "__main__":
    web.run_app(application(), host="0.0.0.0", port=8000, print=None)
