// Acknowledgements: of each log the newest message up to which everything has been handled, batched.

export class Acks {
  #batch;
  #delay;
  #ask;
  #acked;
  #pending = new Map(); // log → {seq, count}; null is the own mailbox
  #underWay = new Set();
  #timer = null;
  #idle = [];

  /** `ask(log, seq)` promises the result of the command; `acked(log, seq, cursor)` is told after it. */
  constructor({ ackBatch, ackDelay }, ask, acked) {
    this.#batch = ackBatch;
    this.#delay = ackDelay;
    this.#ask = ask;
    this.#acked = acked;
  }

  /** So many messages of the log, the last of which is `seq`, are handled. */
  note(log, seq) {
    const count = (this.#pending.get(log)?.count ?? 0) + 1;
    this.#pending.set(log, { seq, count });
    if (count >= this.#batch) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), this.#delay);
  }

  /** Sends what is to be acknowledged; one command of a log is under way at a time, and the next covers more. */
  flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    for (const [log, { seq }] of this.#pending) {
      if (this.#underWay.has(log)) continue;
      this.#pending.delete(log);
      this.#tell(log, seq);
    }
  }

  /** The session is new: what an older one was sent cannot be acknowledged in it. */
  reset() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#pending.clear();
    this.#underWay = new Set();
    this.#rest();
  }

  /** A promise that settles when everything has been answered, or the session has ended. */
  async flushed() {
    while (this.#pending.size || this.#underWay.size) {
      this.flush();
      await new Promise((resolve) => this.#idle.push(resolve));
    }
  }

  async #tell(log, seq) {
    const underWay = this.#underWay;
    underWay.add(log);
    let pause = this.#delay;
    try {
      const { cursor } = await this.#ask(log, seq);
      this.#acked(log, seq, cursor);
    } catch (error) {
      // Nothing is lost with it: without an acknowledgement the message comes again, and is recognised.
      if (error.retryAfter && !this.#pending.has(log)) this.#pending.set(log, { seq, count: 0 });
      pause = error.retryAfter ?? pause;
    }
    if (underWay !== this.#underWay) return;
    underWay.delete(log);
    const count = this.#pending.get(log)?.count ?? -1;
    if (count >= this.#batch) this.flush();
    else if (count >= 0) this.#timer ??= setTimeout(() => this.flush(), pause);
    if (!underWay.size) this.#rest();
  }

  #rest() {
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
