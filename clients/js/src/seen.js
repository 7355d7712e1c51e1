// Which messages have been handled: the latest `from` and `id`s, kept in the storage as a ring of records.

const PREFIX = 'seen/';

export const keyOf = ({ from, id }) => `${from}\n${id}`;

export class Seen {
  #most;
  #keys = new Map(); // key → number, the oldest first
  #next = 0;

  constructor(most) {
    this.#most = most;
  }

  /** Takes the records of an earlier run. */
  restore(records) {
    const list = records.filter(([name]) => name.startsWith(PREFIX)).map(([, value]) => value).sort(([a], [b]) => a - b);
    for (const [number, key] of list.slice(-this.#most)) {
      this.#keys.set(key, number);
      this.#next = number + 1;
    }
  }

  has(key) {
    return this.#keys.has(key);
  }

  /** The record that makes the key last; `add` follows when the record has been written. */
  record(key) {
    const number = this.#next++;
    return [PREFIX + (number % this.#most), [number, key]];
  }

  add(key, [, [number]]) {
    this.#keys.set(key, number);
    while (this.#keys.size > this.#most) this.#keys.delete(this.#keys.keys().next().value);
  }
}
