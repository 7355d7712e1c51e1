// Where a client keeps what must outlive a connection, a page or a process: the outbox, the ids that were handled,
// positions, and the records of the application.
//
// A storage has four methods. `write` is the point of it: all of its changes are there after a crash, or none.
//
//   open()          a promise; called once, before the others
//   list(prefix)    a promise of [[key, value]…], sorted by key
//   write(changes)  changes: [[key, value]…], a value of undefined deletes; the promise settles when the changes will last.
//                   Deletions alone may be undone by a crash: that costs a repetition, which is recognised
//   close()         a promise
//
// Keys are text; values are what JSON can carry. `durable` is false for memory alone.

import { platform } from './platform.js';

export class MemoryStorage {
  durable = false;
  #records = new Map();

  async open() {}

  async list(prefix) {
    return [...this.#records].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
  }

  async write(changes) {
    for (const [key, value] of changes) value === undefined ? this.#records.delete(key) : this.#records.set(key, value);
  }

  async close() {}
}

/** The storage that an option means: a storage itself, or the name of one. */
export function storageOf(option) {
  if (option === undefined || option === 'memory') return new MemoryStorage();
  if (typeof option !== 'string') return option;
  const make = platform.storages[option] ?? platform.storages.path;
  if (!make) throw new TypeError(`no storage is called ${option}`);
  return make(option);
}
