// What arrives: handed to the application in order, each message once, acknowledged when it has been handled.
//
// Two lists, because an acknowledgement means "everything that this session was sent up to here":
//   queue    what is to be handled, in the order of the first arrival, over reconnects
//   tickets  what the running session was sent, in the order of sending; a ticket is done when its message is handled
// A message that comes again while it waits or is handled gets a ticket and no second place in the queue.
//
// Too much waiting must not keep the answers of the server from being read: a handler may wait for one. So what comes while
// the queue is full is left out. The server keeps it, for it is not acknowledged, nor is anything behind it; when half of the
// queue is handled, another session brings it.

import { CONTROL, SIGNAL } from './envelope.js';
import { Message } from './message.js';
import { keyOf } from './seen.js';

const WAITING = 0, RUNNING = 1, DONE = 2;
const RECALLED = 4;
const LEFT_OUT = { state: WAITING };

export class Inbox {
  #options;
  #calls;
  #acks;
  #seen;
  #queue = [];
  #byKey = new Map();
  #tickets = [];
  #running = 0;
  #bytes = 0;
  #handle = null;
  #most = 1;
  #failures = 0;
  #pausedUntil = null;
  #full = false;
  #leftOut = false;
  #stopped = false;
  #idle = [];

  /**
   * calls: emit(name, value); message(envelope) → Message; write(changes) → promise; records(kept) → changes;
   * acknowledges(log): whether the log's messages can be; takes(envelope): whether request() waits for the message, which
   * taken(message) is given then; sent(id): whether the client has sent it; receipt(event); failed(message);
   * full(): `full` has changed; again(): what was left out is to be sent again.
   */
  constructor(options, acks, seen, calls) {
    this.#options = options;
    this.#acks = acks;
    this.#seen = seen;
    this.#calls = calls;
  }

  /** The function that handles messages, and how many may be handled side by side; null: messages wait. */
  handleBy(handle, most = 1) {
    this.#handle = handle;
    this.#most = most;
    this.#pump();
  }

  arrived(envelope, size) {
    if (envelope.type === SIGNAL) {
      this.#calls.emit('signal', this.#calls.message(envelope));
      return;
    }
    const key = keyOf(envelope);
    const ticket = envelope.seq === undefined ? null : { log: envelope.log ?? null, seq: envelope.seq, entry: null };
    if (ticket) this.#tickets.push(ticket);
    if (this.#seen.has(key)) {
      this.#settle();
      return;
    }
    const entry = this.#byKey.get(key) ?? (this.#full && ticket && envelope.type !== CONTROL && !this.#calls.takes(envelope)
      ? LEFT_OUT : this.#enter(key, envelope, size));
    if (ticket) ticket.entry = entry;
    if (entry === LEFT_OUT) this.#leftOut = true;
    this.#pump();
    this.#measure();
  }

  /** True while so much waits that more is left out. */
  get full() {
    return this.#full;
  }

  /** Another session, or the server has lost data: what came before cannot be acknowledged any more. */
  begin() {
    this.#tickets = [];
    this.#leftOut = false;
    this.#acks.reset();
  }

  /** Drops what has not been handed out. */
  clear() {
    for (const entry of this.#queue.filter(({ state }) => state === WAITING)) this.#leave(entry);
  }

  /** A promise that settles when no handler runs. */
  idle() {
    return this.#running ? new Promise((resolve) => this.#idle.push(resolve)) : Promise.resolve();
  }

  #enter(key, envelope, size) {
    const entry = { key, envelope, size, state: WAITING };
    this.#byKey.set(key, entry);
    this.#queue.push(entry);
    this.#bytes += size;
    if (this.#calls.takes(envelope)) this.#run(entry, (message) => this.#calls.taken(message));
    else if (envelope.type === CONTROL && !this.#recallsWaiting(envelope)) this.#run(entry, (message) => this.#receipt(message));
    return entry;
  }

  /** True when the message that is recalled waits to be handled: the word of the recall comes behind it. */
  #recallsWaiting({ state, from, inReplyTo }) {
    return state === RECALLED && this.#byKey.has(keyOf({ from, id: inReplyTo }));
  }

  #receipt({ from, inReplyTo: id, state }) {
    const received = this.#seen.has(keyOf({ from, id }));
    if (state === RECALLED && (received || !this.#calls.sent(id))) this.#calls.emit('recalled', { from, id });
    if (state !== RECALLED || !received) this.#calls.receipt({ id, from, state });
  }

  #pump() {
    if (this.#pausedUntil || this.#stopped) return;
    for (const entry of [...this.#queue]) {
      if (this.#running >= this.#most) return;
      if (entry.state !== WAITING) continue;
      if (entry.envelope.type === CONTROL) this.#run(entry, (message) => this.#receipt(message));
      else if (this.#handle) this.#run(entry, this.#handle);
      else return;
    }
  }

  /** No message is handed out any more. */
  stop(on = true) {
    this.#stopped = on;
    if (!on) this.#pump();
  }

  async #run(entry, handle) {
    entry.state = RUNNING;
    this.#running++;
    const message = this.#calls.message(entry.envelope);
    try {
      await this.#attempt(message, entry, handle);
      this.#failures = 0;
      entry.state = DONE;
      this.#leave(entry);
    } catch (error) {
      entry.state = WAITING;
      if (error !== NOT_HANDLED) this.#failed(error, message);
    }
    this.#running--;
    if (!this.#running) this.#idle.splice(0).forEach((resolve) => resolve());
    this.#settle();
    this.#measure();
    this.#pump();
  }

  async #attempt(message, entry, handle) {
    let result;
    try {
      result = await handle(message);
    } catch (error) {
      if (error === NOT_HANDLED || this.#options.onHandlerError !== 'skip') throw error;
      Message.takeKept(message);
      this.#calls.emit('error', error);
    }
    const record = this.#seen.record(entry.key);
    await this.#calls.write([record, ...this.#calls.records(Message.takeKept(message))]);
    this.#seen.add(entry.key, record);
    this.#calls.emit('handled', message);
    return result;
  }

  /** The handler threw: the message stays first in the queue, and is handed out again after a back-off. */
  #failed(error, message) {
    const { minBackoff, maxBackoff } = this.#options;
    const most = Math.min(maxBackoff, minBackoff * 2 ** Math.min(this.#failures++, 30));
    clearTimeout(this.#pausedUntil);
    this.#pausedUntil = setTimeout(() => {
      this.#pausedUntil = null;
      this.#pump();
    }, most / 2 + Math.random() * (most / 2));
    this.#calls.emit('error', error);
    this.#calls.failed(message);
  }

  #leave(entry) {
    this.#queue.splice(this.#queue.indexOf(entry), 1);
    this.#byKey.delete(entry.key);
    this.#bytes -= entry.size;
  }

  /** Acknowledges the tickets before which nothing is unhandled. */
  #settle() {
    let count = 0;
    while (count < this.#tickets.length && (this.#tickets[count].entry?.state ?? DONE) === DONE) count++;
    for (const { log, seq } of this.#tickets.splice(0, count)) if (this.#calls.acknowledges(log)) this.#acks.note(log, seq);
  }

  /** Tells when too much waits, and when half of it is handled. */
  #measure() {
    const { maxWaiting, maxWaitingBytes } = this.#options;
    const share = Math.max(this.#queue.length / maxWaiting, this.#queue.length > 1 ? this.#bytes / maxWaitingBytes : 0);
    if (this.#full ? share > 0.5 : share < 1) return;
    this.#full = !this.#full;
    if (!this.#full && this.#leftOut) this.#calls.again();
    else this.#calls.full();
  }
}

/** A handler that fails with it was left before the message was handled: the message waits for the next handler. */
export const NOT_HANDLED = new Error('the message was not handled');
