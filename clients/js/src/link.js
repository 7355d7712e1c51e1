// One WebSocket, from its opening to its end. A link is used once; session.js makes the next one.
//
// The end of a link is told once, whoever brought it about: the server, the network, or `drop`, which does not wait for
// a peer that may be dead.

import { codeOfStatus } from './codes.js';

const OPEN = 1;

export class Link {
  #socket;
  #ended = false;
  #paused = false;
  #calls;
  /** The server's word before a close on purpose: code, message, retryAfter in ms. */
  goodbye = null;

  /**
   * calls: {text(text), alive(), ended({code, reason, retryAfter})}. `alive` is called for whatever comes from the server.
   */
  constructor({ WebSocket, url, protocols, socketOptions }, calls) {
    this.#calls = calls;
    const socket = socketOptions ? new WebSocket(url, protocols, socketOptions) : new WebSocket(url, protocols);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => {
      if (this.#ended) return;
      calls.alive();
      calls.text(typeof data === 'string' ? data : new TextDecoder().decode(data));
    };
    if ('onpong' in socket) socket.onpong = () => calls.alive();
    socket.onerror = () => {}; // a close event follows
    socket.onclose = ({ code, reason, status, retryAfter }) => {
      this.#end(status ? codeOfStatus(status) : code, reason, retryAfter);
    };
  }

  get open() {
    return !this.#ended && this.#socket.readyState === OPEN;
  }

  /** True when the text was handed to the socket. */
  send(text) {
    if (!this.open) return false;
    this.#socket.send(text);
    return true;
  }

  /** Asks for a sign of life; false where the socket cannot ping (a browser's). */
  ping() {
    if (!('onpong' in this.#socket)) return false;
    if (this.open) this.#socket.ping();
    return true;
  }

  /** Stops or goes on with reading; false when there is nothing to change, or the socket cannot. */
  pause(on) {
    const call = on ? this.#socket.pause : this.#socket.resume;
    if (!call || on === this.#paused) return false;
    this.#paused = on;
    call.call(this.#socket);
    return true;
  }

  /** The closing handshake; `ended` follows. */
  close(code = 1000, reason = '') {
    if (!this.#ended) this.#socket.close(code, reason);
  }

  /** Gives the link up at once; `ended` is told before the call returns. */
  drop(reason) {
    if (this.#ended) return;
    const socket = this.#socket;
    (socket.terminate ?? socket.close).call(socket);
    this.#end(1006, reason);
  }

  #end(code, reason, retryAfter) {
    if (this.#ended) return;
    this.#ended = true;
    const { goodbye } = this;
    // Some sockets tell 1005 or 1006 although the server gave its reason in the goodbye.
    const known = goodbye && (code === 1005 || code === 1006) ? goodbye.code : code;
    this.#calls.ended({ code: known ?? code, reason: reason || goodbye?.message || '', retryAfter: goodbye?.retryAfter ?? retryAfter ?? 0 });
  }
}
