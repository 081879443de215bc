"""A server as far away as one likes: passes bytes on, each so many milliseconds late on its way to the server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def far_away(port: int, seconds: float) -> Iterator[int]:
    """The port behind which the server at `port` answers every request `seconds` later."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(lambda *ends: _connect(*ends, port, seconds), "127.0.0.1", 0)

    listening = asyncio.run_coroutine_threadsafe(serve(), loop).result()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


async def _stop() -> None:
    await asyncio.sleep(0.1)  # the server's last connections close by themselves
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


async def _connect(
    from_browser: asyncio.StreamReader, to_browser: asyncio.StreamWriter, port: int, seconds: float
) -> None:
    try:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        to_browser.close()
        return
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(_late(from_browser, to_server, seconds), _pass(from_server, to_browser))


async def _late(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    """Later, but as fast: what comes meanwhile is not kept waiting by what came before."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def send() -> None:
        data = b"-"
        while data:
            at, data = await waiting.get()
            await asyncio.sleep(at - loop.time())
            with contextlib.suppress(OSError):
                target.write(data)
                await target.drain()
        target.close()

    sending = asyncio.ensure_future(send())
    data = b"-"
    while data:
        try:
            data = await source.read(65536)
        except OSError:
            data = b""
        waiting.put_nowait((loop.time() + seconds, data))
    await sending


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()
