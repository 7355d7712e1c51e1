// The library, as browsers load it.

export { PostOffice } from './client.js';
export { ClosedError, OutboxFullError, RejectedError, TimeoutError } from './errors.js';
export { MemoryStorage } from './storage.js';
export { IndexedDBStorage } from './indexeddb.js';
