// Many WebSocket clients in one Node process (Debian's node-ws), driven by JSON lines on standard input.
//
//   {"op":"open","id":1,"url":"ws://…","headers":{…},"protocols":[…],"options":{…}}
//   {"op":"send","id":1,"data":"text"}   {"op":"send","id":1,"base64":"…"}   (fin: false for a fragment)
//   {"op":"ping","id":1,"data":"x"}      {"op":"close","id":1,"code":1000,"reason":""}
//
// and answered by JSON lines on standard output: {"id":1,"event":"open"|"message"|"pong"|"close"|"error"|"refused",…}.
'use strict';
const WebSocket = require('ws');
const readline = require('readline');

const clients = new Map();

function tell(id, event, more) {
  process.stdout.write(JSON.stringify({ id, event, ...more }) + '\n');
}

function open({ id, url, headers, protocols, options }) {
  const client = new WebSocket(url, protocols || [], { headers: headers || {}, maxPayload: 64 << 20, ...options });
  clients.set(id, client);
  client.on('open', () => tell(id, 'open', { protocol: client.protocol, extensions: client.extensions }));
  client.on('message', (data, binary) => tell(id, 'message',
    binary ? { base64: Buffer.from(data).toString('base64') } : { data: data.toString() }));
  client.on('pong', (data) => tell(id, 'pong', { data: data.toString() }));
  client.on('close', (code, reason) => tell(id, 'close', { code, reason: reason.toString() }));
  client.on('error', (error) => tell(id, 'error', { message: error.message }));
  client.on('unexpected-response', (request, response) => {
    tell(id, 'refused', { status: response.statusCode, headers: response.headers });
    request.destroy();
  });
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  const client = clients.get(command.id);
  switch (command.op) {
    case 'open': open(command); break;
    case 'send': {
      const binary = command.base64 !== undefined;
      client.send(binary ? Buffer.from(command.base64, 'base64') : command.data,
        { binary, fin: command.fin !== false });
      break;
    }
    case 'ping': client.ping(command.data); break;
    case 'close': client.close(command.code, command.reason); break;
    case 'terminate': client.terminate(); break;
  }
}).on('close', () => process.exit(0));
