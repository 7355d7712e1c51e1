// A storage in the browser's IndexedDB: one transaction a write, told as done when the browser has put it on the disk.

import { platform } from './platform.js';

const STORE = 'records';

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

export class IndexedDBStorage {
  durable = true;
  #name;
  #database;

  constructor(name = 'postoffice') {
    this.#name = name;
  }

  async open() {
    const request = indexedDB.open(this.#name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    this.#database = await done(request);
  }

  async list(prefix) {
    const store = this.#database.transaction(STORE).objectStore(STORE);
    const range = IDBKeyRange.bound(prefix, prefix + '\uffff');
    const [keys, values] = await Promise.all([done(store.getAllKeys(range)), done(store.getAll(range))]);
    return keys.map((key, at) => [key, values[at]]);
  }

  write(changes) {
    return new Promise((resolve, reject) => {
      const durability = changes.some(([, value]) => value !== undefined) ? 'strict' : 'relaxed';
      const transaction = this.#database.transaction(STORE, 'readwrite', { durability });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error('aborted'));
      const store = transaction.objectStore(STORE);
      for (const [key, value] of changes) value === undefined ? store.delete(key) : store.put(value, key);
    });
  }

  async close() {
    this.#database?.close();
  }
}

platform.storages.indexeddb = () => new IndexedDBStorage();
