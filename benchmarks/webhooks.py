"""How long a notice takes from the room to a webhook on this machine, and what keeping it first costs.

Beside it: the same messages sent at once by the same client, without an outbox (what a ``kill -9`` loses).

    python benchmarks/webhooks.py [--notices 200]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from aiohttp import web

from consult.notices import Notice
from consult.noticesettings import Webhook
from consult.service import ServiceConfig, running_service
from consult.webhooksender import make_sender
from consult.webhookshapes import KeptNotice
from diag.facts import Text


class Receiver:
    """Takes everything, and notes when."""

    def __init__(self) -> None:
        self.at_s: dict[str, float] = {}

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.at_s.setdefault(body["title"]["en"], time.perf_counter())
        return web.json_response({})


def notice(n: int) -> Notice:
    return Notice("queued", "normal", Text(str(n), str(n)), Text("", ""), time.time_ns() // 1000)


def show(name: str, waits_s: list[float], whole_s: float) -> None:
    waits = sorted(waits_s)
    p99 = waits[max(0, round(len(waits) * 0.99) - 1)]
    print(
        f"{name:<24} {len(waits)} notices  median {statistics.median(waits) * 1000:.1f} ms  p99 {p99 * 1000:.1f} ms"
        f"  all in {whole_s:.2f} s"
    )


async def kept(hook: Webhook, receiver: Receiver, count: int, pause_s: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        config = ServiceConfig(data=data, state=data / "service.db", webhooks=(hook,), webrtc=False)
        async with running_service(config) as service:
            told_s = {}
            began_s = time.perf_counter()
            for n in range(count):
                told_s[str(n)] = time.perf_counter()
                service.notices.publish(notice(n))
                await asyncio.sleep(pause_s)
            while len(receiver.at_s) < count:  # noqa: ASYNC110 - what is waited for comes by the network
                await asyncio.sleep(0.01)
            show("kept, then sent", [receiver.at_s[n] - at_s for n, at_s in told_s.items()], _last(receiver) - began_s)


async def at_once(hook: Webhook, receiver: Receiver, count: int, pause_s: float) -> None:
    sender = make_sender(hook)
    waits_s = []
    began_s = time.perf_counter()
    for n in range(count):
        told_s = time.perf_counter()
        one = KeptNotice(n, f"msg_{n}", notice(n))
        await sender.send([one], "http://127.0.0.1", time.time_ns() // 1000)
        waits_s.append(receiver.at_s[str(n)] - told_s)
        await asyncio.sleep(pause_s)
    await sender.close()
    show("sent at once, not kept", waits_s, _last(receiver) - began_s)


def _last(receiver: Receiver) -> float:
    return max(receiver.at_s.values())


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--notices", type=int, default=200)
    parser.add_argument("--pause-ms", type=float, default=50.0, help="between two notices")
    args = parser.parse_args()
    for run in (at_once, kept):
        receiver = Receiver()
        app = web.Application()
        app.router.add_post("/", receiver.take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        hook = Webhook(name="x", speaks="json", url=f"http://127.0.0.1:{port}/", secret="0123456789abcdef")  # noqa: S106
        await run(hook, receiver, args.notices, args.pause_ms / 1000)
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
