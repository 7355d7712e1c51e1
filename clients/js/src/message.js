// A message as the application's handler gets it: every field of the envelope, and what the fields mean.

import { fromBase64 } from './base64.js';
import { CONTROL } from './envelope.js';

const TEXTS = new Set([undefined, 0, 1, 2, 3]); // contentType: plain, markdown, html, JSON

const dateOf = (seconds) => (seconds === undefined ? undefined : new Date(seconds * 1000));

export class Message {
  #client;
  #kept = new Map();

  constructor(envelope, client) {
    Object.assign(this, envelope);
    this.#client = client;
  }

  get bytes() {
    return fromBase64(this.content ?? '');
  }

  /** The content as text; undefined when `contentType` names no text, or `charset` a charset that is not known here. */
  get text() {
    if (!TEXTS.has(this.contentType)) return undefined;
    try {
      return new TextDecoder(this.charset || 'utf-8').decode(this.bytes);
    } catch {
      return undefined;
    }
  }

  /** The content as JSON; throws a SyntaxError when the content is none. */
  json() {
    return JSON.parse(this.text);
  }

  get files() {
    return (this.attachments ?? []).filter((each) => typeof each?.content === 'string')
      .map(({ name, contentType, content }) => ({ name, type: contentType, bytes: fromBase64(content) }));
  }

  get sentAt() {
    return dateOf(this.createTime);
  }

  get expires() {
    return dateOf(this.expiresAt);
  }

  /** The group in whose log the message lies; undefined for mail. */
  get group() {
    return this.log;
  }

  /** True for what another device of the own address has sent. */
  get mine() {
    return this.from === this.#client.address;
  }

  /** Answers: to the group of a post, else to the sender; in the same thread. */
  reply(answer) {
    const fields = { inReplyTo: this.id, subjectId: this.subjectId, subject: this.subject, ...answer };
    return this.log ? this.#client.post({ to: this.log, ...fields }) : this.#client.send({ to: this.from, ...fields });
  }

  /** Tells the sender that the message was read; meant for mail whose `receipt` is 3. */
  markRead() {
    return this.#client.send({ to: this.from, type: CONTROL, state: 3, subject: 'read', inReplyTo: this.id });
  }

  /**
   * Writes a record of the application in the same transaction that remembers the message as handled. The record is there
   * after a crash if and only if the message does not come again. Undefined as the value takes the record away.
   */
  keep(key, value) {
    this.#kept.set(String(key), value);
  }

  /** For the library: the records of `keep`, which a failed attempt to handle the message does not leave behind. */
  static takeKept(message) {
    const kept = message.#kept;
    message.#kept = new Map();
    return kept;
  }
}
