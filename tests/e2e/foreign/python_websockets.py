"""python3-websockets."""

import asyncio
import json
import ssl

import websockets

from talk import order, talk, tell


async def main():
    context = ssl.create_default_context(cafile=order["ca"]) if order["ca"] else None
    async with websockets.connect(order["url"], extra_headers=order["headers"], subprotocols=order["protocols"] or None,
                                  compression="deflate" if order["compress"] else None, ssl=context) as socket:
        steps, told = talk(), None
        step = next(steps)
        while told is None:
            try:
                if step is None:
                    step = steps.send(json.loads(await socket.recv()))
                else:
                    await socket.send(step)
                    step = next(steps)
            except StopIteration as stop:
                told = stop.value
        await socket.close(1000)
        tell(told, socket.subprotocol, socket.close_code, bool(socket.extensions))


asyncio.run(main())
