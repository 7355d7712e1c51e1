#!/usr/bin/python3
"""An IoT device on a slow line: device.py ws://127.0.0.1:7600/ws FILE SINK, one reading a line on stdin, a token in TOKEN.

Readings leave for the address SINK in batches. What waits for the line lies in FILE, bounded, and outlives a power cut;
a batch that is being gathered does not. The device takes commands, {"batch": 20}, from its first start on, those that
came while it was off included; what it was told is kept in FILE together with the note that it was told.
"""
import asyncio, os, sys, time
from typing import List, Tuple
from postoffice import FileStorage, Message, OutboxFullError, PostOffice

async def main(url: str, file: str, sink: str) -> None:
    storage = FileStorage(file)
    await storage.open()
    device = PostOffice(url, token=os.environ["TOKEN"], storage=storage, since="now",
                        outbox_messages=500, outbox_bytes=256 << 10,     # on the card; the oldest leave first
                        send_window=2, max_waiting=8,                    # in memory
                        ack_batch=50, ack_delay=10,                      # few words on the line, few writes to the card
                        heartbeat=60, heartbeat_timeout=60, connect_timeout=120, max_backoff=300)

    @device.on("message")
    def told(message: Message) -> None:
        if isinstance(batch := message.json().get("batch"), int) and batch > 0:
            message.keep("batch", str(batch))

    connecting = asyncio.ensure_future(device.connect())  # readings do not wait for it
    readings: List[Tuple[int, float]] = []
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        readings.append((int(time.time()), float(line)))
        if len(readings) >= int(await storage.kept("batch") or 10):
            try:
                device.send(sink, json=readings)
                readings = []
            except OutboxFullError:  # the line has been away for long: every other reading has to do
                readings = readings[::2]
    await connecting
    await device.send(sink, json=readings)  # goes last: when it is accepted, all are
    await device.close()

asyncio.run(main(*sys.argv[1:4]))
