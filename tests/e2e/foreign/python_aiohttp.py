"""python3-aiohttp."""

import asyncio
import json
import ssl

import aiohttp

from talk import order, talk, tell


async def main():
    context = ssl.create_default_context(cafile=order["ca"]) if order["ca"] else None
    async with aiohttp.ClientSession() as session, session.ws_connect(
            order["url"], headers=order["headers"], protocols=order["protocols"],
            compress=15 if order["compress"] else 0, max_msg_size=0, ssl=context) as socket:
        steps, told = talk(), None
        step = next(steps)
        while told is None:
            try:
                if step is None:
                    step = steps.send(json.loads((await socket.receive()).data))
                else:
                    await socket.send_str(step)
                    step = next(steps)
            except StopIteration as stop:
                told = stop.value
        await socket.close(code=1000)
        tell(told, socket.protocol, socket.close_code, bool(socket.compress))


asyncio.run(main())
