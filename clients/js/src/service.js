// Requests and their answers between services.

import { MAIL, toEnvelope } from './envelope.js';
import { TimeoutError } from './errors.js';

const ID_MAX = 64;
const CONTENT = ['text', 'json', 'content', 'bytes', 'files'];

/** What a handler of serve() returned, as a message: text, bytes, a message with one of CONTENT, or else JSON. */
export function answerOf(result) {
  if (typeof result === 'string') return { text: result };
  if (result instanceof Uint8Array) return { content: result };
  if (typeof result === 'object' && CONTENT.some((name) => name in result)) return result;
  return { json: result };
}

/** The id of the answer follows from the request: answered again after a crash, the answer is the same message. */
export function answerId({ from, id }) {
  const whole = `re:${hash(from)}:${id}`;
  return whole.length <= ID_MAX ? whole : `re:${hash(from)}:${hash(id)}:${id.slice(-24)}`;
}

/** 32 bits of a text (FNV-1a), enough to tell the senders of one id apart. */
function hash(text) {
  let sum = 0x811c9dc5;
  for (const each of text) sum = Math.imul(sum ^ each.codePointAt(0), 0x01000193);
  return (sum >>> 0).toString(36);
}

export class Requests {
  #waiting = new Map();

  /** A promise of the answer. `put` sends the envelope, `withdraw(id, error)` takes back what has not been sent. */
  ask(message, timeout, { put, withdraw }) {
    const envelope = toEnvelope(message, MAIL);
    const { id } = envelope;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const error = new TimeoutError(`no answer within ${timeout} ms`, id);
        this.#settle(id);
        reject(error);
        withdraw(id, error);
      }, timeout);
      this.#waiting.set(id, { from: new Set(envelope.to), timer, resolve });
      put(envelope).catch((error) => {
        this.#settle(id);
        reject(error);
      });
    });
  }

  /** True when a request waits for the message. */
  takes({ type, from, inReplyTo }) {
    return type === MAIL && (this.#waiting.get(inReplyTo)?.from.has(from) ?? false);
  }

  answered(message) {
    this.#settle(message.inReplyTo)?.resolve(message);
  }

  #settle(id) {
    const request = this.#waiting.get(id);
    clearTimeout(request?.timer);
    this.#waiting.delete(id);
    return request;
  }
}
