// Keeps a client connected: token, link, welcome; and after an end what its code asks for: again, a new token, or never.
//
//   idle ──start──▶ connecting ──welcome──▶ open ──end──▶ waiting ──time, online, retry──▶ connecting …
//                        └──────────────── a final code, or stop ────────────────▶ closed

import { FINAL, NEW_TOKEN, verdictOf } from './codes.js';
import { ClosedError } from './errors.js';
import { POSTMASTER } from './envelope.js';
import { Heartbeat } from './heartbeat.js';
import { Link } from './link.js';
import { present } from './present.js';
import { NoTokenError } from './tokens.js';

const STEADY_MS = 10_000; // a session that lasted so long was a good one: the next attempt comes soon

export class Session {
  #options;
  #tokens;
  #calls;
  #link = null;
  #attempt = 0; // the number of the running attempt; an answer to an older one is void
  #failures = 0;
  #openedAt = 0;
  #timer = null;
  #floorAt = 0;
  #heartbeat;
  #closing = null;
  state = 'idle';

  /**
   * What the session asks: place() → {since, epoch} or null; device() → text; ask(): a sign of life by a command;
   * renew(token) → promise. What the session tells: envelope(envelope, size); welcome(envelope, first): first is false for
   * a second welcome of one link; ended(code): the link has ended, another may follow; closed(error): for good;
   * state(event); error(error).
   */
  constructor(options, tokens, calls) {
    this.#options = options;
    this.#tokens = tokens;
    this.#calls = calls;
    this.#heartbeat = new Heartbeat(options.heartbeat * 1000, options.heartbeatTimeout * 1000,
      () => this.#link?.ping() || calls.ask(), () => this.#link?.drop('no sign of life'));
  }

  start() {
    if (this.state !== 'idle' && this.state !== 'closed') return;
    this.#failures = 0;
    this.#connect();
  }

  /** Connects at once when the session waits for its next attempt, unless the server has named an earliest time. */
  retry() {
    if (this.state === 'waiting') this.#schedule(Math.max(0, this.#floorAt - Date.now()));
  }

  /** The page is seen again, or the network has changed: a link that is dead is found now. */
  check() {
    this.#heartbeat.check();
  }

  /** Hands a text to the socket of an open session; false when there is none. */
  send(text) {
    return this.state === 'open' && this.#link.send(text);
  }

  /** Stops reading, or goes on; where the socket cannot stop nothing happens. */
  pause(on) {
    if (this.#link?.pause(on)) this.#heartbeat.excuse(on);
  }

  /** Gives the link up and comes back: after the back-off, or at once. */
  leave(reason, atOnce) {
    this.#link?.drop(reason);
    if (!atOnce) return;
    this.#failures = 0;
    this.retry();
  }

  /** Ends for good; a promise that settles when the link has ended. */
  async stop(code = 1000, reason = '') {
    if (this.#link && this.state !== 'closed') {
      const link = this.#link;
      const ended = new Promise((resolve) => { this.#closing = resolve; });
      const patience = setTimeout(() => link.drop('no answer to the close frame'), this.#options.closeTimeout);
      link.close(code);
      await ended;
      clearTimeout(patience);
    }
    this.#finish(code, reason);
  }

  async #connect() {
    clearTimeout(this.#timer);
    const attempt = ++this.#attempt;
    this.#enter('connecting');
    let token;
    try {
      token = await this.#tokens.take();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.#calls.error(error);
      if (error instanceof NoTokenError) this.#finish(4401, error.message);
      else this.#wait(0);
      return;
    }
    if (attempt === this.#attempt) this.#open(token);
  }

  #open(token) {
    const { WebSocket, socketOptions, connectTimeout } = this.#options;
    this.#openedAt = 0;
    let link;
    try {
      link = new Link({ WebSocket, url: this.#url(), protocols: ['postoffice.v1', ...(token ? [`bearer.${token}`] : [])], socketOptions }, {
        text: (text) => this.#hear(link, text),
        alive: () => this.#heartbeat.alive(),
        ended: (end) => this.#ended(link, end),
      });
    } catch {
      this.#finish(4400, 'no good url or token'); // what was thrown may name the token
      return;
    }
    this.#link = link;
    this.#timer = setTimeout(() => link.drop('no welcome in time'), connectTimeout);
  }

  #url() {
    const place = this.#calls.place();
    return withQuery(this.#options.url, { clientID: this.#options.address, device: this.#calls.device() || null, ...place, refusals: 'close' });
  }

  #hear(link, text) {
    if (link !== this.#link) return;
    let envelope;
    try {
      envelope = JSON.parse(text);
    } catch (error) {
      this.#calls.error(error);
      return;
    }
    if (envelope.from === POSTMASTER && envelope.type === 4) {
      if (envelope.subject === 'goodbye') link.goodbye = envelope;
      if (envelope.subject === 'welcome') this.#welcome(envelope);
    }
    this.#calls.envelope(envelope, text.length);
  }

  #welcome(envelope) {
    const first = !this.#openedAt;
    if (first) {
      clearTimeout(this.#timer);
      this.#openedAt = Date.now();
      this.#heartbeat.start();
      this.#enter('open');
      this.#renewLater();
    }
    this.#calls.welcome(envelope, first);
  }

  #ended(link, { code, reason, retryAfter }) {
    if (link !== this.#link) return;
    this.#link = null;
    this.#heartbeat.stop();
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    const wasOpen = this.#openedAt !== 0;
    if (wasOpen && Date.now() - this.#openedAt > STEADY_MS) this.#failures = 0;
    if (this.#closing) {
      this.#closing();
      return;
    }
    this.#calls.ended(code);
    const verdict = verdictOf(code);
    // Without another token to ask for the same would be refused again.
    if (verdict === FINAL || (verdict === NEW_TOKEN && !this.#tokens.refuse())) this.#finish(code, reason);
    else this.#wait(retryAfter, code, reason);
  }

  #wait(retryAfter, code, reason) {
    const { minBackoff, maxBackoff } = this.#options;
    const most = Math.min(maxBackoff, minBackoff * 2 ** Math.min(this.#failures++, 30));
    this.#floorAt = Date.now() + retryAfter;
    const delay = retryAfter + Math.random() * most;
    this.#enter('waiting', { until: new Date(Date.now() + delay), code, reason });
    this.#schedule(delay);
  }

  #schedule(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #finish(code, reason) {
    if (this.state === 'closed') return;
    this.#attempt++;
    this.#closing = this.#link = null;
    this.#heartbeat.stop();
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    this.#enter('closed', { code, reason });
    this.#calls.closed(new ClosedError(code, reason));
  }

  #enter(state, more) {
    this.state = state;
    this.#calls.state({ state, ...more });
  }

  // ---- the running token

  #renewal = null;

  #renewLater(least = 0) {
    const due = this.#tokens.renewIn();
    clearTimeout(this.#renewal);
    if (due >= 0) this.#renewal = setTimeout(() => this.#renew(due > LONGEST_TIMER), Math.min(Math.max(due, least), LONGEST_TIMER));
  }

  async #renew(early) {
    const link = this.#link;
    const { value } = this.#tokens;
    try {
      const token = early ? value : await this.#tokens.fresh();
      if (token !== value && link === this.#link) await this.#calls.renew(token);
    } catch (error) {
      this.#calls.error(error);
    }
    if (link === this.#link) this.#renewLater(RENEW_PAUSE_MS);
  }
}

const LONGEST_TIMER = 2 ** 31 - 1; // a timer takes no more
const RENEW_PAUSE_MS = 5_000;

/** Not URLSearchParams, which writes a space as a plus sign: to the server a plus sign is a plus sign. */
function withQuery(url, query) {
  return url + (url.includes('?') ? '&' : '?') + Object.entries(present(query)).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&');
}

