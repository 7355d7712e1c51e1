"""python3-websocket, which is called websocket-client elsewhere. It knows no compression."""

import json
import struct

import websocket

from talk import order, talk, tell

socket = websocket.create_connection(order["url"], header=order["headers"], subprotocols=order["protocols"] or None,
                                     sslopt={"ca_certs": order["ca"]} if order["ca"] else {})
steps, told = talk(), None
step = next(steps)
while told is None:
    try:
        if step is None:
            step = steps.send(json.loads(socket.recv()))
        else:
            socket.send(step)
            step = next(steps)
    except StopIteration as stop:
        told = stop.value
protocol = socket.getsubprotocol()
socket.send_close(1000)
while True:
    opcode, data = socket.recv_data(control_frame=True)
    if opcode == websocket.ABNF.OPCODE_CLOSE:
        break
tell(told, protocol, struct.unpack("!H", data[:2])[0], False)
