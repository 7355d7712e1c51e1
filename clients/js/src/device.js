// Which device of the address this client is. A device has its own cursor on the server and its own records here, and may be
// used by one client at a time.
//
// Where there are locks (navigator.locks: pages of https and localhost, workers) each client is a device. A tab keeps its
// device over a reload (sessionStorage); a new one takes a device over that no living client holds, with whatever is unsent
// and unread there, and only else makes a new one. A page without locks makes a device for each tab. Elsewhere (Node) the
// device is the one that the storage knows.

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
    // The page before this one may still write what it has handled; a tab that stays is turned out by the server (4500).
    if (given !== undefined && this.#storage.durable && globalThis.navigator?.locks) await this.#lock(given, RELOAD_MS);
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
    const tab = tabStore();
    const item = `postoffice-device/${this.#scope}`;
    const mine = tab?.getItem(item);
    const name = await this.#free(mine, tab, known) ?? await this.#made();
    tab?.setItem(item, name);
    return name;
  }

  /** The device of this tab, or else one that nobody holds. */
  async #free(mine, tab, known) {
    if (!globalThis.navigator?.locks) return tab ? mine : known[0];
    if (mine && await this.#lock(mine, RELOAD_MS)) return mine;
    for (const name of known) if (await this.#lock(name, 0)) return name;
    return null;
  }

  async #made() {
    const name = randomHex(8);
    if (globalThis.navigator?.locks) await this.#lock(name, 0);
    return name;
  }

  /** True when this client holds the device from now on; waits so many ms for the one before. */
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

/** What lasts as long as the tab; undefined outside of a page, or where the page must not store anything. */
function tabStore() {
  try {
    return typeof document === 'undefined' ? undefined : sessionStorage;
  } catch {
    return undefined;
  }
}
