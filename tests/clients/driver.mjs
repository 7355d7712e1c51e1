// Any number of clients of clients/js in one process, driven by JSON lines (tests/README.md says how the table uses a driver).
//
// A request {"n": 1, "do": "open", "client": "a", …} is answered {"n": 1, "ok": …} or {"n": 1, "error": {…}}; what a client
// tells is {"event": "message", "client": "a", "data": {…}}.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { NodeWebSocket, PostOffice } from '../../clients/js/src/node.js';

const clients = new Map();
const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n');

/** A client, what its handlers wait for, and the link that can be taken away under it. */
class Driven {
  links = new Set();
  offline = false;
  held = [];
  unsaved = new Set(); // ids of sends that the storage does not have yet
  got = new Map(); // messages by id, for reply and read
  releases = 0;
  handled = 0;
  acked = null;
  attempts = 0;
  tokens = 0;

  constructor(name, options, handle) {
    this.name = name;
    const driven = this;
    class Cuttable extends NodeWebSocket {
      constructor(...given) {
        super(...given);
        driven.attempts++;
        driven.links.add(this);
        if (driven.offline) this.terminate();
      }
    }
    const { tokens, caFile, allowInsecure, ...rest } = options;
    this.client = new PostOffice({
      ...rest,
      WebSocket: Cuttable,
      tls: { ...(caFile ? { ca: readFileSync(caFile) } : {}), ...(allowInsecure ? { rejectUnauthorized: false } : {}) },
      getToken: tokens ? () => this.#token(tokens) : undefined,
    });
    for (const event of ['state', 'welcome', 'replayed', 'gap', 'receipt', 'recalled']) this.client.on(event, (data) => this.event(event, data));
    this.client.on('signal', (message) => this.event('signal', plain(message)));
    this.client.on('handled', (message) => {
      this.handled++;
      this.event('handled', { id: message.id });
    });
    this.client.on('acked', ({ log, seq, cursor }) => {
      this.acked = seq;
      this.event('acked', { log, seq, cursor });
    });
    this.client.on('error', (error) => this.event('error', { name: error.name, message: error.message }));
    this.#handleBy(handle);
  }

  event(event, data) {
    tell({ event, client: this.name, data });
  }

  release(count) {
    this.releases += count;
    while (this.releases && this.held.length) {
      this.releases--;
      this.held.shift()();
    }
  }

  /** Settles when the handler may return. */
  hold() {
    return new Promise((resolve) => {
      this.held.push(resolve);
      this.release(0);
    });
  }

  /** The library's promise of a send; until the storage has it the message does not count as one that waits. */
  sent(sent) {
    this.unsaved.add(sent.id);
    sent.stored.then(() => this.unsaved.delete(sent.id));
    return sent;
  }

  /** How many messages wait safely. */
  get outbox() {
    return this.client.pending().filter(({ id }) => !this.unsaved.has(id)).length;
  }

  async #token(tokens) {
    const token = tokens[Math.min(this.tokens, tokens.length - 1)];
    this.tokens++;
    this.event('token', { n: this.tokens });
    return token;
  }

  #handleBy(handle = 'auto') {
    if (handle === 'none') return;
    if (handle === 'iterate') {
      this.#iterate().catch((error) => this.event('error', { name: error.name, message: error.message }));
      return;
    }
    let failures = handle.startsWith('fail:') ? Number(handle.slice(5)) : 0;
    this.client.on('message', async (message) => {
      this.got.set(message.id, message);
      this.event('message', plain(message));
      if (handle === 'hold') await this.hold();
      if (failures > 0) {
        failures--;
        throw new Error('the handler fails, as it was told to');
      }
    });
  }

  async #iterate() {
    for await (const message of this.client.messages()) this.event('message', plain(message));
  }
}

const KNOWN = ['id', 'from', 'to', 'cc', 'subject', 'type', 'contentType', 'seq', 'log', 'inReplyTo', 'level', 'tags', 'state', 'attachments', 'references', 'subjectId',
  'receipt', 'expiresAt', 'charset', 'createTime', 'lastUpdateTime', 'fromTag'];

/** A message as plain data. */
function plain(message) {
  const { text, bytes, files, mine, group } = message;
  const data = Object.fromEntries(KNOWN.map((name) => [name, message[name] ?? null]));
  const other = Object.fromEntries(Object.entries(message).filter(([name]) => !KNOWN.includes(name) && name !== 'content'));
  Object.assign(data, {
    text: text ?? null, bytes: Buffer.from(bytes).toString('base64'), mine, group: group ?? null, other,
    files: files.map((file) => ({ ...file, bytes: Buffer.from(file.bytes).toString('base64') })),
  });
  if (message.contentType === 3) data.json = message.json();
  return data;
}

/** A message of a request, as the library takes it: bytes come as base64. */
function given({ bytes, files, ...rest }) {
  const message = { ...rest };
  if (bytes !== undefined) message.content = Buffer.from(bytes, 'base64');
  if (files) message.files = files.map((file) => ({ ...file, bytes: Buffer.from(file.bytes, 'base64') }));
  return message;
}

function answered(driven, mode, message) {
  driven.event('message', plain(message));
  if (mode === 'hold') return driven.hold().then(() => message.text);
  return mode === 'upper' ? message.text.toUpperCase() : message.text;
}

const deeds = {
  open: ({ client, options, handle }) => {
    clients.set(client, new Driven(client, options, handle));
    return {};
  },
  connect: async ({ client }) => {
    const { session, seq, cursor, recovered, epoch, service } = await client.connect();
    return { session, seq, cursor, recovered, epoch, service: service ?? false };
  },
  release: ({ driven, count }) => driven.release(count),
  send: ({ driven, client, message }) => driven.sent(client.send(given(message))),
  post: ({ driven, client, message }) => driven.sent(client.post(given(message))),
  signal: ({ client, message }) => ({ sent: client.signal(given(message)) }),
  reply: ({ driven, id, message }) => driven.got.get(id).reply(given(message)),
  read: ({ driven, id }) => driven.got.get(id).markRead(),
  recall: ({ client, id }) => client.recall(id),
  history: async ({ client, group, subjectId, before, limit, max = Infinity }) => {
    const messages = [];
    for await (const message of client.history({ group, subjectId, before, limit })) {
      messages.push(plain(message));
      if (messages.length >= max) break;
    }
    return { messages };
  },
  presence: async ({ client, addresses }) => ({ online: await client.presence(addresses) }),
  subscribe: async ({ client, groups, since, epoch }) => ({ groups: await client.subscribe(groups, { since, epoch }) }),
  unsubscribe: ({ client, groups }) => client.unsubscribe(groups),
  serve: ({ driven, client, concurrency, mode }) => client.serve((message) => answered(driven, mode, message), { concurrency }),
  request: async ({ client, message, timeout }) => plain(await client.request(given(message), { timeout })),
  offline: ({ driven }) => {
    driven.offline = true;
    for (const link of driven.links) link.terminate();
    driven.links.clear();
  },
  online: ({ driven, client }) => {
    driven.offline = false;
    client.retry();
  },
  stats: ({ driven, client }) => ({ state: client.state, outbox: driven.outbox, handled: driven.handled, acked: driven.acked, attempts: driven.attempts }),
  close: ({ client }) => client.close(),
};

/** Absent and null mean the same in a request. */
const withoutNull = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));

async function carryOut(request) {
  const { n, do: deed, client: name, ...fields } = withoutNull(request);
  try {
    if (!deeds[deed]) throw new Error(`no deed is called ${deed}`);
    const driven = clients.get(name);
    if (!driven && deed !== 'open') throw new Error(`no client is called ${name}`);
    const options = fields.options && withoutNull(fields.options);
    const ok = await deeds[deed]({ ...fields, options, driven, client: deed === 'open' ? name : driven.client });
    tell({ n, ok: ok ?? {} });
  } catch (error) {
    const { name: kind, code = null, message, id, refused, field } = error;
    const known = ['RejectedError', 'ClosedError', 'TimeoutError'].includes(kind);
    tell({ n, error: { name: known ? kind : 'Error', code, message, id, refused, field } });
  }
}

createInterface({ input: process.stdin }).on('line', (line) => { carryOut(JSON.parse(line)); }).on('close', () => process.exit(0));
