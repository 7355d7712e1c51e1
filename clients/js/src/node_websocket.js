// A WebSocket for Node (RFC 6455, permessage-deflate of RFC 7692), with the face of a browser's.
//
// Beyond a browser's: the third argument has `headers`, and the TLS options of node:tls (`ca`, `cert`, `key`, `servername`…);
// `ping()` and `onpong`; `pause()` and `resume()` of reading; `terminate()`; and a close event that has the HTTP `status`
// and `retryAfter` (ms) of a refusal.

import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { BINARY, CLOSE, CONTINUATION, encodeFrame, FrameError, FrameReader, PING, PONG, TEXT } from './node_frames.js';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const OFFER = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
const TAIL = Buffer.from([0, 0, 0xff, 0xff]); // RFC 7692 7.2.1
const COMPRESS_FROM = 1024; // bytes; less would hardly become smaller
const MESSAGE_MAX = 256 << 20;
const CLOSE_MS = 5000; // so long the server may take to answer a close frame
const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;

export class NodeWebSocket {
  readyState = CONNECTING;
  protocol = '';
  extensions = '';
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  onpong = null;
  #request;
  #socket = null;
  #reader = new FrameReader(MESSAGE_MAX);
  #parts = [];
  #first = null; // the first frame of the message that is being read
  #deflate = false;
  #end = null; // {code, reason}: what a close frame or the library itself gave as the cause
  #paused = false;
  #timer = null;

  constructor(url, protocols = [], options = {}) {
    const target = new URL(url);
    const secure = target.protocol === 'wss:';
    const key = randomBytes(16).toString('base64');
    const { headers, ...tls } = options;
    const list = [protocols].flat();
    this.#request = (secure ? https : http).request({
      ...(secure ? { ALPNProtocols: ['http/1.1'], ...tls } : {}),
      agent: false, host: target.hostname.replace(/^\[|\]$/g, ''), port: target.port || (secure ? 443 : 80), path: target.pathname + target.search,
      headers: {
        ...headers, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key,
        'Sec-WebSocket-Extensions': OFFER, ...(list.length ? { 'Sec-WebSocket-Protocol': list.join(', ') } : {}),
      },
    });
    this.#request.on('upgrade', (response, socket, head) => this.#upgraded(response, socket, head, key, list));
    this.#request.on('response', (response) => this.#refused(response));
    this.#request.on('error', (error) => this.#failed(error));
    this.#request.end();
  }

  get bufferedAmount() {
    return this.#socket?.writableLength ?? 0;
  }

  send(data) {
    if (this.readyState !== OPEN) return;
    const payload = typeof data === 'string' ? Buffer.from(data) : Buffer.from(data.buffer ?? data, data.byteOffset, data.byteLength);
    const opcode = typeof data === 'string' ? TEXT : BINARY;
    const small = this.#deflate && payload.length >= COMPRESS_FROM ? deflated(payload) : null;
    if (small && small.length < payload.length) this.#write(opcode, small, true);
    else this.#write(opcode, payload);
  }

  ping() {
    if (this.readyState === OPEN) this.#write(PING, Buffer.alloc(0));
  }

  pause() {
    this.#paused = true;
    this.#socket?.pause();
  }

  resume() {
    if (!this.#paused) return;
    this.#paused = false;
    if (!this.#socket) return;
    setImmediate(() => {
      if (this.#paused || this.readyState === CLOSED) return;
      this.#read();
      if (!this.#paused) this.#socket.resume();
    });
  }

  close(code = 1000, reason = '') {
    if (this.readyState === CONNECTING) this.terminate();
    if (this.readyState !== OPEN) return;
    this.readyState = CLOSING;
    this.resume();
    this.#writeClose(code, reason);
    this.#timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
  }

  /** Ends the connection at once, without a closing handshake. */
  terminate() {
    this.#request.destroy();
    this.#socket?.destroy();
    if (!this.#socket) this.#closed({ code: 1006, reason: '' });
  }

  #upgraded(response, socket, head, key, offered) {
    const accept = createHash('sha1').update(key + GUID).digest('base64');
    const protocol = response.headers['sec-websocket-protocol'] ?? '';
    const extensions = response.headers['sec-websocket-extensions'] ?? '';
    socket.on('error', (error) => this.onerror?.({ type: 'error', error }));
    if (response.headers['sec-websocket-accept'] !== accept || (protocol && !offered.includes(protocol)) || !understood(extensions)) {
      socket.destroy();
      this.#failed(new Error('no WebSocket answered'));
      return;
    }
    this.#socket = socket;
    this.#deflate = extensions !== '';
    Object.assign(this, { protocol, extensions, readyState: OPEN });
    socket.setNoDelay(true);
    socket.setTimeout(0);
    socket.on('close', () => this.#closed(this.#end ?? { code: 1006, reason: '' }));
    socket.on('end', () => socket.end());
    socket.on('data', (chunk) => this.#arrived(chunk));
    if (this.#paused) socket.pause();
    this.onopen?.({ type: 'open' });
    if (head.length) this.#arrived(head);
  }

  #refused(response) {
    const seconds = Number(response.headers['retry-after']);
    response.resume();
    this.#request.destroy();
    this.#closed({ code: 1006, reason: `HTTP ${response.statusCode}`, status: response.statusCode, retryAfter: seconds > 0 ? seconds * 1000 : 0 });
  }

  #failed(error) {
    if (this.readyState === CLOSED) return;
    this.onerror?.({ type: 'error', error });
    if (!this.#socket) this.#closed({ code: 1006, reason: error.message });
  }

  #closed(event) {
    if (this.readyState === CLOSED) return;
    clearTimeout(this.#timer);
    this.readyState = CLOSED;
    // Never from inside the constructor or a call of the caller's: a browser tells it later too.
    setImmediate(() => this.onclose?.({ type: 'close', wasClean: event.code !== 1006, ...event }));
  }

  #arrived(chunk) {
    this.#reader.push(chunk);
    if (!this.#paused) this.#read();
  }

  #read() {
    try {
      for (let frame = this.#reader.next(); frame; frame = this.#reader.next()) {
        if (this.#end) return; // behind a close frame nothing counts
        this.#take(frame);
        if (this.#paused) return;
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#end = { code: error.code, reason: error.message };
      this.#writeClose(error.code, error.message);
      this.#socket.end();
      this.#timer ??= setTimeout(() => this.#socket.destroy(), CLOSE_MS);
    }
  }

  #take(frame) {
    if (frame.opcode === PING) this.#write(PONG, frame.payload);
    else if (frame.opcode === PONG) this.onpong?.({ type: 'pong', data: frame.payload });
    else if (frame.opcode === CLOSE) this.#takeClose(frame.payload);
    else this.#takeData(frame);
  }

  #takeClose(payload) {
    const code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
    this.#end = { code, reason: textOf(payload.subarray(2)) };
    if (this.readyState === OPEN) {
      this.readyState = CLOSING;
      this.#writeClose(code === 1005 ? 1000 : code, '');
    }
    this.#socket.end();
    this.#timer ??= setTimeout(() => this.#socket.destroy(), CLOSE_MS);
  }

  #takeData(frame) {
    if ((frame.opcode === CONTINUATION) !== (this.#first !== null)) throw new FrameError(1002, 'a fragment out of place');
    if (frame.compressed && (this.#first || !this.#deflate)) throw new FrameError(1002, 'a reserved bit is set');
    this.#first ??= frame;
    this.#parts.push(frame.payload);
    if (!frame.fin) return;
    const { opcode, compressed } = this.#first;
    const whole = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#first = null;
    this.#parts = [];
    const payload = compressed ? inflated(whole) : whole;
    const data = opcode === TEXT ? textOf(payload) : new Uint8Array(payload).buffer;
    if (this.readyState === OPEN || this.readyState === CLOSING) this.onmessage?.({ type: 'message', data });
  }

  #writeClose(code, reason) {
    const payload = Buffer.concat([Buffer.alloc(2), Buffer.from(reason).subarray(0, 123)]);
    payload.writeUInt16BE(code);
    this.#write(CLOSE, payload);
  }

  #write(opcode, payload, compressed = false) {
    if (this.#socket.writable) this.#socket.write(encodeFrame(opcode, payload, randomBytes(4), compressed));
  }
}

/** True for no extension, and for permessage-deflate with no context of the server's kept between messages. */
function understood(extensions) {
  if (extensions === '') return true;
  const [name, ...parameters] = extensions.split(';').map((each) => each.trim().toLowerCase());
  return name === 'permessage-deflate' && parameters.includes('server_no_context_takeover');
}

function deflated(payload) {
  return deflateRawSync(payload, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -TAIL.length);
}

function inflated(payload) {
  try {
    return inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: MESSAGE_MAX });
  } catch (error) {
    throw new FrameError(error.code === 'ERR_BUFFER_TOO_LARGE' ? 1009 : 1007, error.message);
  }
}

function textOf(payload) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    throw new FrameError(1007, 'text that is no UTF-8');
  }
}
