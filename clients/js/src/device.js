// Which device of the address this client is. A device has its own cursor on the server and its own records here, and may be
// used by one client at a time.
//
// Outside of a page: the device that the storage knows, or a new one. In a page each tab is a device. A tab keeps its device
// over a reload (sessionStorage); a new tab takes a device over that no living tab holds, with whatever is unsent and unread
// there, and only else makes a new one. A lock (navigator.locks) says that a tab lives. Pages without locks (http: other than
// localhost) make a device for each tab.

import { randomHex } from './ids.js';

const PREFIX = 'device/';
const RELOAD_MS = 1000; // so long the page before this one may take to let go

export class Device {
  #storage;
  #scope;
  #release = () => {};
  name;

  constructor(storage, address) {
    this.#storage = storage;
    this.#scope = `${encodeURIComponent(address ?? '')}/`;
  }

  /** Chooses the device; `given` is the application's own name for it. Returns the name. */
  async choose(given) {
    this.name = given ?? await this.#find();
    await this.#storage.write([[PREFIX + this.#scope + this.name, Date.now()]]);
    return this.name;
  }

  /** The records of this device have keys that begin so. */
  get prefix() {
    return `of/${this.#scope}${encodeURIComponent(this.name)}/`;
  }

  release() {
    this.#release();
  }

  async #find() {
    const known = (await this.#storage.list(PREFIX + this.#scope)).sort(([, a], [, b]) => b - a)
      .map(([key]) => key.slice(PREFIX.length + this.#scope.length));
    return inPage() ? this.#ofTab(known) : known[0] ?? randomHex(8);
  }

  async #ofTab(known) {
    const item = `postoffice-device/${this.#scope}`;
    const mine = sessionStorage.getItem(item);
    const name = await this.#hold([...(mine ? [[mine, RELOAD_MS]] : []), ...known.map((each) => [each, 0]), [randomHex(8), 0]], mine);
    sessionStorage.setItem(item, name);
    return name;
  }

  /** The first device of the list whose lock is free. */
  async #hold(list, mine) {
    if (!navigator.locks) return mine ?? list.at(-1)[0];
    for (const [name, patience] of list) if (await this.#lock(name, patience)) return name;
    return list.at(-1)[0];
  }

  #lock(name, patience) {
    const options = patience ? { signal: AbortSignal.timeout(patience) } : { ifAvailable: true };
    return new Promise((resolve) => {
      navigator.locks.request(`postoffice-device/${this.#scope}${name}`, options, (lock) => {
        resolve(Boolean(lock));
        return lock && new Promise((release) => { this.#release = release; });
      }).catch(() => resolve(false));
    });
  }
}

const inPage = () => typeof document !== 'undefined' && typeof sessionStorage !== 'undefined';
