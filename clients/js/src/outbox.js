// What is sent: kept until the server has answered, in order, repeated under the same id after a lost link.
//
// The server can refuse a message for now (`retryAfter`) and take the one behind it. So of messages that share a recipient
// only the first unanswered one is under way (docs/protocol.md section 5, "Order"); the option `ordered: false` gives that up.

import { utf8 } from './base64.js';
import { recipientsOf } from './envelope.js';
import { ClosedError, OutboxFullError, RejectedError } from './errors.js';
import { Sent } from './sent.js';

const PREFIX = 'out/';
const LOOK_AHEAD = 200;
const RECEIPTS_KEPT = 1000; // so many sends that asked for receipts are joined to theirs after they have settled

export class Outbox {
  #options;
  #calls;
  #entries = [];
  #byId = new Map();
  #told = new Map();
  #bytes = 0;
  #underWay = 0;
  #next = 0;
  #open = false;
  #ready = false; // the storage is open
  #pausedUntil = null;
  #closedBy = null;
  #messageBytes = Infinity;

  /** calls: send(envelope) → handed to the session; write(changes) → promise; durable() → boolean; emit(name, value). */
  constructor(options, calls) {
    this.#options = options;
    this.#calls = calls;
  }

  /** True when the storage has been read since the client was closed last. */
  get ready() {
    return this.#ready;
  }

  /** True while an answer of the server is expected. */
  get busy() {
    return this.#underWay > 0;
  }

  /** Takes an envelope; returns the handle of its sending. */
  put(envelope) {
    const known = this.#byId.get(envelope.id);
    if (known) return known.sent;
    const entry = { envelope, size: sizeOf(envelope), state: 'new', saved: false, key: null, sent: new Sent(envelope.id) };
    const refusal = this.#refusal(entry);
    if (refusal) entry.sent.fail(refusal);
    else this.#enter(entry);
    return entry.sent;
  }

  /** What waits, the oldest first. */
  pending() {
    return this.#entries.map(({ envelope }) => envelope);
  }

  /** Takes the records of an earlier run, whose messages go first; and writes down what came before the storage was open. */
  restore(records) {
    const old = records.filter(([name]) => name.startsWith(PREFIX)).map(([key, envelope]) => this.#restored(key, envelope));
    const fresh = this.#entries.filter(({ saved }) => !saved);
    this.#entries = [...old, ...fresh];
    this.#ready = true;
    this.#closedBy = null;
    for (const entry of fresh) this.#save(entry);
  }

  /** A message that was sent again by the application, before the storage was open, keeps the place of its record. */
  #restored(key, envelope) {
    this.#next = Number(key.slice(PREFIX.length)) + 1;
    const known = this.#byId.get(envelope.id);
    const entry = known ?? { envelope, size: sizeOf(envelope), state: 'new', sent: new Sent(envelope.id) };
    if (!known) {
      this.#byId.set(envelope.id, entry);
      this.#bytes += entry.size;
    }
    entry.sent.keep();
    return Object.assign(entry, { key, saved: true });
  }

  opened({ limits }) {
    this.#open = true;
    this.#messageBytes = limits?.messageBytes ?? Infinity;
    for (const entry of [...this.#entries]) if (entry.size > this.#messageBytes) this.#settle(entry, tooLarge(entry, this.#messageBytes));
    this.#pump();
  }

  /** The session has ended: everything unanswered goes again. */
  lost(code) {
    this.#open = false;
    this.#resume();
    this.#underWay = 0;
    const underWay = this.#entries.filter(({ state }) => state === 'sent');
    for (const entry of underWay) entry.state = 'new';
    if (code === 1009 && underWay.length) {
      const largest = underWay.reduce((a, b) => (b.size > a.size ? b : a));
      this.#settle(largest, tooLarge(largest, this.#messageBytes));
    }
  }

  /** Nothing is sent any more by this client. What a storage keeps goes out at the next start. */
  closed(error) {
    this.#open = false;
    this.#resume();
    this.#closedBy = error;
    for (const entry of this.#entries.splice(0)) entry.sent.fail(this.#closedError(entry));
    this.#byId.clear();
    this.#bytes = this.#underWay = 0;
    this.#ready = false;
  }

  /** Takes a message back that has not been handed to the server. */
  withdraw(id, error) {
    const entry = this.#byId.get(id);
    if (entry?.state === 'new') this.#settle(entry, error);
  }

  /** True when the envelope (accepted, rejected) answers a message of this outbox. */
  answered(envelope) {
    const entry = this.#byId.get(envelope.inReplyTo);
    if (!entry) return false;
    if (entry.state === 'sent') this.#underWay--;
    if (envelope.subject === 'accepted') {
      this.#settle(entry, null, { id: envelope.inReplyTo, state: envelope.state, refused: envelope.refused ?? [] });
    } else if (envelope.retryAfter) {
      entry.state = 'new';
      this.#pause(envelope.retryAfter);
    } else {
      this.#settle(entry, new RejectedError(envelope));
    }
    this.#pump();
    return true;
  }

  /** A receipt about a message; joined to the sending when that is still known. */
  receipt(receipt) {
    (this.#byId.get(receipt.id)?.sent ?? this.#told.get(receipt.id))?.tell(receipt);
  }

  /** True when the client knows the id as one of its own. */
  knows(id) {
    return this.#byId.has(id) || this.#told.has(id);
  }

  #closedError({ envelope, saved }) {
    const { code, reason } = this.#closedBy;
    return Object.assign(new ClosedError(code, reason), { kept: saved && this.#calls.durable(), id: envelope.id });
  }

  #refusal(entry) {
    const { outboxMessages, outboxBytes } = this.#options;
    if (this.#closedBy) return this.#closedError(entry);
    if (entry.size > this.#messageBytes) return tooLarge(entry, this.#messageBytes);
    if (this.#entries.length >= outboxMessages) return new OutboxFullError(`${outboxMessages} messages wait`);
    if (this.#entries.length && this.#bytes + entry.size > outboxBytes) return new OutboxFullError(`${this.#bytes} bytes wait`);
    return null;
  }

  #enter(entry) {
    this.#entries.push(entry);
    this.#byId.set(entry.envelope.id, entry);
    this.#bytes += entry.size;
    if (this.#ready) this.#save(entry);
  }

  /** A message is sent when the storage has it, so that a crash cannot take what the server may have. */
  async #save(entry) {
    if (this.#calls.durable()) {
      entry.key = PREFIX + String(this.#next++).padStart(15, '0');
      try {
        await this.#calls.write([[entry.key, entry.envelope]]);
      } catch (error) {
        entry.key = null;
        this.#settle(entry, error);
        return;
      }
    }
    entry.saved = true;
    entry.sent.keep();
    this.#pump();
  }

  #settle(entry, error, result) {
    if (this.#byId.get(entry.envelope.id) !== entry) return; // withdrawn, or closed, while the storage was writing
    this.#byId.delete(entry.envelope.id);
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    this.#bytes -= entry.size;
    if (entry.key) this.#calls.write([[entry.key, undefined]]).catch((failure) => this.#calls.emit('error', failure));
    if (error) {
      entry.sent.fail(error);
      this.#calls.emit('rejected', { id: entry.envelope.id, error });
      return;
    }
    if (entry.envelope.receipt) this.#keepForReceipts(entry.sent);
    entry.sent.settle(result);
    this.#calls.emit('accepted', result);
  }

  #keepForReceipts(sent) {
    this.#told.set(sent.id, sent);
    if (this.#told.size > RECEIPTS_KEPT) this.#told.delete(this.#told.keys().next().value);
  }

  #pause(ms) {
    clearTimeout(this.#pausedUntil);
    this.#pausedUntil = setTimeout(() => {
      this.#pausedUntil = null;
      this.#pump();
    }, ms);
  }

  #resume() {
    clearTimeout(this.#pausedUntil);
    this.#pausedUntil = null;
  }

  #pump() {
    if (!this.#open || this.#pausedUntil) return;
    const { sendWindow, ordered } = this.#options;
    const busy = new Set();
    for (const entry of this.#entries.slice(0, LOOK_AHEAD)) {
      if (this.#underWay >= sendWindow) return;
      const recipients = recipientsOf(entry.envelope);
      const free = ordered ? !recipients.some((each) => busy.has(each)) : true;
      if (entry.state === 'new' && entry.saved && free) this.#transmit(entry);
      else if (!ordered && entry.state === 'new') return;
      if (ordered) recipients.forEach((each) => busy.add(each));
    }
  }

  #transmit(entry) {
    if (!this.#calls.send(entry.envelope)) return;
    entry.state = 'sent';
    this.#underWay++;
  }
}

/** The address of the session, which is not known yet, comes in addition. */
const sizeOf = (envelope) => utf8(JSON.stringify(envelope)).length;

function tooLarge(entry, most) {
  return new RejectedError({ code: 'too-large', message: `${entry.size} bytes; the server takes ${most}`, inReplyTo: entry.envelope.id });
}
