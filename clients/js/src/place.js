// From where a session starts: normally from the device's cursor, which the server keeps. With the option `since` from there,
// once, and until the first acknowledgement has made a cursor.

const BEGAN = 'began', EPOCH = 'epoch';

export class Place {
  #options;
  #write;
  #began = null; // {seq, epoch}: where the first session started; {acked: true}: the server has a cursor
  epoch = '';

  constructor(options, write) {
    this.#options = options;
    this.#write = write;
  }

  restore(records) {
    const known = new Map(records);
    this.#began = known.get(BEGAN) ?? null;
    this.epoch = known.get(EPOCH) ?? '';
  }

  /** {since, epoch} for the query; null: from the device's cursor. */
  start() {
    const { since, epoch } = this.#options;
    if (since === undefined || this.#began?.acked) return null;
    return this.#began ? { since: this.#began.seq, epoch: this.#began.epoch } : { since, epoch };
  }

  /** A welcome has come. Returns true when the server has lost the data that was known. */
  begin({ epoch, cursor, service }) {
    if (!epoch) return false;
    const before = this.epoch || (this.#began ? '' : this.#options.epoch);
    const changed = Boolean(before) && before !== epoch;
    const began = this.#options.since === undefined || service ? null : !this.#began || changed ? { seq: cursor, epoch } : this.#began;
    if (epoch !== this.epoch || began !== this.#began) this.#keep([[EPOCH, epoch], [BEGAN, began ?? undefined]]);
    this.epoch = epoch;
    this.#began = began;
    return changed;
  }

  /** An acknowledgement was taken: the server has a cursor of this device. */
  acknowledged() {
    if (!this.#began || this.#began.acked) return;
    this.#began = { acked: true };
    this.#keep([[BEGAN, this.#began]]);
  }

  /** A record that is not written costs a repetition, which is recognised. */
  #keep(changes) {
    this.#write(changes).catch(() => {});
  }
}
