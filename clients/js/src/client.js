// The face of the library: wires session, inbox, outbox, commands, groups and storage to each other.
//
// Each part knows only the calls that it is given here; what happens between parts is to be read in this file.

import { Acks } from './acks.js';
import { Commands } from './commands.js';
import { Device } from './device.js';
import { Emitter } from './emitter.js';
import { MAIL, POST, POSTMASTER, SIGNAL, CONTROL, toEnvelope } from './envelope.js';
import { ClosedError } from './errors.js';
import { Groups } from './groups.js';
import { Inbox } from './inbox.js';
import { MessageIterator } from './iterator.js';
import { Message } from './message.js';
import { optionsOf } from './options.js';
import { Outbox } from './outbox.js';
import { watchPage } from './page.js';
import { Place } from './place.js';
import { Seen } from './seen.js';
import { answerId, answerOf, Requests } from './service.js';
import { Session } from './session.js';
import { storageOf } from './storage.js';
import { Tokens } from './tokens.js';

const APP = 'app/', END = '\n'; // with an end a key is no beginning of another one

export class PostOffice {
  #options;
  #events = new Emitter();
  #tokens;
  #storage;
  #stored = null; // the promise of an open storage
  #device = null;
  #session;
  #commands;
  #acks;
  #seen;
  #place;
  #inbox;
  #outbox;
  #groups;
  #requests = new Requests();
  #handlers = [];
  #iterators = new Set();
  #serving = false;
  #welcome = null;
  #connecting = null;
  #ended = false;
  #unwatch = () => {};

  constructor(options) {
    this.#options = optionsOf(options);
    this.#tokens = new Tokens(this.#options.getToken, this.#options.token);
    this.#storage = storageOf(this.#options.storage);
    // Else another person's token would send what this one has left in the outbox.
    if (this.#storage.durable && !this.#options.address) throw new TypeError('storage needs an address');
    const emit = (name, value) => this.#events.emit(name, value);
    const write = (changes) => this.#write(changes);
    this.#commands = new Commands((envelope) => this.#transmit(envelope));
    this.#place = new Place(this.#options, write);
    this.#groups = new Groups({ emit, write, ask: (subject, fields) => this.#ask(subject, fields), gap: (log, epochChanged) => emit('gap', { log, epochChanged }) });
    this.#outbox = new Outbox(this.#options, { emit, write, send: (envelope) => this.#transmit(envelope), durable: () => this.#storage.durable });
    this.#seen = new Seen(this.#options.rememberIds);
    this.#acks = new Acks(this.#options, (log, seq) => this.#commands.ask('ack', { references: seq, tags: log ? [log] : undefined }),
      (log, seq, cursor) => this.#acknowledged(log, seq, cursor));
    this.#inbox = new Inbox(this.#options, this.#acks, this.#seen, {
      emit, write,
      message: (envelope) => new Message(envelope, this),
      records: (kept) => [...kept].map(([key, value]) => [APP + key + END, value]),
      acknowledges: (log) => Boolean(this.#place.epoch) && (log === null || this.#groups.has(log)),
      takes: (envelope) => this.#requests.takes(envelope),
      taken: (message) => this.#requests.answered(message),
      sent: (id) => this.#outbox.knows(id),
      receipt: (receipt) => {
        this.#outbox.receipt(receipt);
        emit('receipt', receipt);
      },
      failed: () => this.#welcome?.service && this.#leave('a handler failed'),
      full: () => this.#steer(),
      again: () => this.#leave('messages were left out', true),
    });
    this.#session = new Session(this.#options, this.#tokens, {
      place: () => this.#place.start(),
      device: () => this.#device.name,
      envelope: (envelope, size) => this.#hear(envelope, size),
      welcome: (envelope, first) => this.#began(envelope, first),
      ended: (code) => this.#lost(code),
      closed: (error) => this.#closed(error),
      state: (event) => emit('state', event),
      error: (error) => emit('error', error),
      ask: () => { this.presence([this.address], { lasting: false }).catch(() => {}); },
      renew: async (token) => {
        const { unsubscribed } = await this.#commands.ask('renew', { token });
        if (unsubscribed) this.#dropped(unsubscribed);
      },
    });
    this.#open().catch(() => {}); // what is sent before connect() lasts too; connect() tries again, and tells
  }

  // ---- connecting

  /** `idle`, `connecting`, `open`, `waiting` or `closed`. */
  get state() {
    return this.#session.state;
  }

  /** The address that the client speaks for; undefined until it is known. */
  get address() {
    return this.#options.address ?? this.#welcome?.address;
  }

  /** The name of this device; undefined before `connect`. */
  get device() {
    return this.#device?.name;
  }

  /** Connects, and keeps connected. Settles at the first `welcome`; fails only on what no retry mends (ClosedError). */
  connect() {
    if (this.#ended) return Promise.reject(new ClosedError(1000, 'closed by the application'));
    if (this.state === 'open') return Promise.resolve(this.#welcome);
    this.#connecting ??= this.#newConnecting();
    return this.#connecting.promise;
  }

  /** Connects at once when the client waits for its next attempt. */
  retry() {
    this.#session.retry();
  }

  /** Waits for the running handler, acknowledges what has been handled, and ends for good. */
  async close() {
    if (this.#ended) return;
    this.#ended = true;
    this.#inbox.stop();
    for (const iterator of this.#iterators) iterator.end();
    await this.#within(this.#inbox.idle());
    if (this.state === 'open') await this.#within(this.#acks.flushed());
    await this.#session.stop(1000, 'closed by the application');
    this.#device?.release();
    if (this.#stored) await this.#stored.then(() => this.#storage.close(), () => {});
  }

  // ---- sending

  /** Sends mail; a promise that settles when the server has stored it. See Sent in index.d.ts. */
  send(message) {
    return this.#outbox.put(toEnvelope(message, message.type ?? MAIL));
  }

  /** Sends a post to groups. */
  post(message) {
    return this.#outbox.put(toEnvelope(message, POST));
  }

  /** Sends a signal: true when it was handed to the socket. A signal is not kept and not answered. */
  signal(message) {
    return this.#transmit(toEnvelope(message, SIGNAL));
  }

  /** Messages that wait to be sent or to be answered, the oldest first. */
  pending() {
    return this.#outbox.pending().map((envelope) => new Message({ from: this.address, ...envelope }, this));
  }

  /** Sends a message and waits for the one that answers it. */
  request(message, { timeout = 30_000 } = {}) {
    return this.#requests.ask(message, timeout, { put: (envelope) => this.#outbox.put(envelope), withdraw: (id, error) => this.#outbox.withdraw(id, error) });
  }

  // ---- receiving

  /** Listens; `message` is told to its listeners one at a time, and counts as handled when all of them have returned. */
  on(name, listener) {
    if (name !== 'message') return this.#events.on(name, listener);
    return this.#handleBy(listener);
  }

  off(name, listener) {
    if (name === 'message') this.#unhandle(listener);
    else this.#events.off(name, listener);
  }

  /** Messages as an async iterator; a message counts as handled when the next one is asked for. */
  messages() {
    const iterator = new MessageIterator((handler) => {
      const detach = this.#handleBy(handler);
      return () => {
        detach();
        this.#iterators.delete(iterator);
      };
    });
    this.#iterators.add(iterator);
    return iterator;
  }

  /** Handles requests, `concurrency` at a time; what `handler` returns is sent as the answer, and then acknowledged. */
  serve(handler, { concurrency = 1 } = {}) {
    this.#serving = true;
    this.#inbox.handleBy((message) => this.#serve(handler, message), concurrency);
  }

  /** The record that a handler has kept under the key. */
  async kept(key) {
    return (await this.records(key + END))[0]?.[1];
  }

  /** All records that handlers have kept under keys that begin so: [[key, value]…], sorted by key. */
  async records(prefix = '') {
    await this.#open();
    const from = this.#device.prefix + APP;
    return (await this.#storage.list(from + prefix)).map(([key, value]) => [key.slice(from.length).replace(END, ''), value]);
  }

  // ---- commands

  /** Takes a message back from mailboxes in which it is unread: {recalled, notRecalled}. */
  async recall(id) {
    const { recalled = [], notRecalled = [] } = await this.#ask('recall', { inReplyTo: id });
    return { recalled, notRecalled };
  }

  /** Old messages, newest first, page after page; of the own mailbox or of a group. */
  async* history({ group, subjectId, before, limit } = {}) {
    let references = before;
    for (;;) {
      const page = await this.#ask('history', { tags: group ? [group] : undefined, subjectId, references, limit });
      for (const envelope of page.messages ?? []) yield new Message(envelope, this);
      if (page.code) throw Object.assign(new Error(`history: ${page.code}`), { code: page.code });
      if (!page.more) return;
      references = page.references;
    }
  }

  /** Which devices of the addresses are connected: {address: [device…]}. */
  async presence(addresses, { lasting = true } = {}) {
    return (await this.#commands.ask('presence', { tags: [addresses].flat() }, { lasting })).online;
  }

  /** Hears the posts of groups from now on, over reconnects too. */
  subscribe(groups, options) {
    return this.#groups.subscribe([groups].flat(), options);
  }

  unsubscribe(groups) {
    return this.#groups.unsubscribe([groups].flat());
  }

  // ---- between the parts

  #ask(subject, fields) {
    return this.#commands.ask(subject, fields, { lasting: true });
  }

  #transmit(envelope) {
    this.#session.pause(false);
    return this.#session.send(JSON.stringify({ from: this.address, content: '', ...envelope }));
  }

  #write(changes) {
    return this.#storage.write(changes.map(([key, value]) => [this.#device.prefix + key, value]));
  }

  #newConnecting() {
    const connecting = {};
    connecting.promise = new Promise((resolve, reject) => Object.assign(connecting, { resolve, reject }));
    connecting.promise.catch(() => {}); // told by the event `state` as well
    this.#open().then(() => this.#restored()).catch((error) => {
      this.#connecting = null;
      connecting.reject(error);
    });
    return connecting;
  }

  /** Opens the storage and chooses the device, once. */
  #open() {
    this.#stored ??= (async () => {
      await this.#storage.open();
      this.#device = new Device(this.#storage, this.#options.address);
      await this.#device.choose(this.#options.device);
      const records = await this.#records();
      this.#place.restore(records);
      this.#seen.restore(records);
      this.#groups.restore(records);
      this.#outbox.restore(records);
    })();
    this.#stored.catch(() => { this.#stored = null; });
    return this.#stored;
  }

  async #records() {
    const { prefix } = this.#device;
    return (await this.#storage.list(prefix)).map(([key, value]) => [key.slice(prefix.length), value]);
  }

  async #restored() {
    if (!this.#outbox.ready) this.#outbox.restore(await this.#records());
    if (this.#ended) return;
    this.#commands.connecting();
    this.#inbox.stop(false);
    this.#unwatch();
    this.#unwatch = watchPage({ back: () => this.#session.retry(), doubt: () => this.#session.check() });
    this.#session.start();
  }

  #began(welcome, first) {
    this.#welcome = welcome;
    const changed = this.#place.begin(welcome);
    if (first || changed) this.#inbox.begin();
    if (changed) this.#groups.forgetPlaces();
    if (first) {
      this.#commands.opened();
      this.#groups.opened();
      this.#outbox.opened(welcome);
    }
    this.#events.emit('welcome', welcome);
    if (welcome.recovered === false) this.#events.emit('gap', { log: null, epochChanged: changed });
    this.#connecting?.resolve(welcome);
    this.#connecting = null;
  }

  #hear(envelope, size) {
    if (envelope.from !== POSTMASTER || envelope.type !== CONTROL) {
      this.#inbox.arrived(envelope, size);
    } else if (envelope.subject === 'replayed') {
      this.#replayed(envelope);
    } else if (['accepted', 'rejected', 'result'].includes(envelope.subject)) {
      const known = this.#outbox.answered(envelope) || this.#commands.answered(envelope);
      if (!known && envelope.subject === 'rejected' && !envelope.inReplyTo) this.#events.emit('error', new Error(`${envelope.code}: ${envelope.message}`));
    }
    this.#steer();
  }

  #replayed({ tags, seq, recovered }) {
    const log = tags?.[0] ?? null;
    if (recovered === false) this.#events.emit('gap', { log, epochChanged: false });
    this.#events.emit('replayed', { log, seq });
  }

  #acknowledged(log, seq, cursor) {
    if (log === null) this.#place.acknowledged();
    else this.#groups.acknowledged(log, cursor);
    this.#events.emit('acked', { log, seq, cursor });
  }

  #lost(code) {
    const error = new ClosedError(code, 'the session ended');
    this.#acks.reset();
    this.#commands.lost(error);
    this.#groups.lost();
    this.#outbox.lost(code);
    if (this.#welcome?.service) this.#inbox.clear(); // the server gives them to another session
  }

  #closed(error) {
    this.#unwatch();
    this.#inbox.stop();
    this.#inbox.clear();
    this.#acks.reset();
    this.#commands.closed(error);
    this.#groups.lost();
    this.#outbox.closed(error);
    for (const iterator of this.#iterators) iterator.end(this.#ended ? null : error);
    this.#connecting?.reject(error);
    this.#connecting = null;
  }

  /** Nothing is read while too much waits, unless an answer is expected. */
  #steer() {
    this.#session.pause(this.#inbox.full && !this.#outbox.busy && !this.#commands.busy);
  }

  /** What is handled is acknowledged before the link is left, or it would all come again. */
  #leave(reason, atOnce) {
    this.#acks.flush();
    this.#session.leave(reason, atOnce);
  }

  #dropped(groups) {
    this.#groups.dropped(groups);
    this.#events.emit('unsubscribed', { groups });
  }

  #handleBy(listener) {
    if (typeof listener !== 'function') throw new TypeError('message needs a function');
    if (this.#serving) throw new TypeError('serve() has the messages');
    this.#handlers = [...this.#handlers, listener];
    this.#setHandler();
    return () => this.#unhandle(listener);
  }

  #unhandle(listener) {
    this.#handlers = this.#handlers.filter((each) => each !== listener);
    this.#setHandler();
  }

  #setHandler() {
    this.#inbox.handleBy(this.#handlers.length ? async (message) => {
      for (const handler of this.#handlers) await handler(message);
    } : null);
  }

  async #serve(handler, message) {
    const result = await handler(message);
    if (result === undefined || result === null) return;
    const { from, subject, subjectId, id } = message;
    try {
      await this.send({ to: from, subject, subjectId, ...answerOf(result), inReplyTo: id, id: answerId(message) });
    } catch (error) {
      if (error instanceof ClosedError) throw error;
      this.#events.emit('error', error); // nobody can be answered any more: the request is done all the same
    }
  }

  #within(promise) {
    let timer;
    return Promise.race([promise, new Promise((resolve) => { timer = setTimeout(resolve, this.#options.closeTimeout); })]).finally(() => clearTimeout(timer));
  }
}
