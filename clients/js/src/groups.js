// Subscriptions to groups, kept over reconnects: each group is subscribed to again from where its posts have been handled.

import { RejectedError } from './errors.js';

const PREFIX = 'group/';

export class Groups {
  #calls;
  #wanted = new Map(); // group → {asking: a subscribe is under way}
  #subscribed = new Set();
  #places = new Map(); // from an earlier run, and the newest acknowledged ones of this
  #open = false;

  /** calls: ask(subject, fields) → promise of the result; write(changes) → promise; emit(name, value); gap(group, epochChanged). */
  constructor(calls) {
    this.#calls = calls;
  }

  restore(records) {
    for (const [name, place] of records) if (name.startsWith(PREFIX)) this.#places.set(name.slice(PREFIX.length), place);
  }

  has(group) {
    return this.#subscribed.has(group);
  }

  /** Subscribes now or when the session opens, and again after each reconnect. A promise of {group: {seq, cursor, recovered}}. */
  async subscribe(groups, { since, epoch } = {}) {
    const results = await Promise.all(groups.map((group) => {
      const place = since === undefined ? this.#places.get(group) : { seq: since, epoch };
      return this.#subscribe(group, place);
    }));
    return Object.assign({}, ...results);
  }

  async unsubscribe(groups) {
    for (const group of groups) {
      this.#wanted.delete(group);
      this.#subscribed.delete(group);
    }
    if (this.#open) await this.#calls.ask('unsubscribe', { tags: groups });
  }

  /** A session has begun: every group that is wanted is asked for. */
  opened() {
    this.#open = true;
    for (const [group, { asking }] of this.#wanted) {
      if (!asking) this.#subscribe(group, this.#places.get(group)).catch((error) => this.#calls.emit('error', error));
    }
  }

  lost() {
    this.#open = false;
    this.#subscribed.clear();
  }

  /** The server lost data: the positions that are known mean nothing. */
  forgetPlaces() {
    this.#calls.write([...this.#places.keys()].map((group) => [PREFIX + group, undefined])).catch(() => {});
    this.#places.clear();
  }

  /** Posts of the group are acknowledged up to `seq`. */
  acknowledged(group, seq) {
    const place = this.#places.get(group);
    if (!place || !seq) return;
    this.#keep(group, { seq, epoch: place.epoch });
  }

  /** The server does not let the client hear the groups any more. */
  dropped(groups) {
    for (const group of groups) {
      this.#wanted.delete(group);
      this.#subscribed.delete(group);
    }
  }

  async #subscribe(group, place) {
    const wanted = { asking: true };
    this.#wanted.set(group, wanted);
    try {
      const { groups, epoch } = await this.#calls.ask('subscribe', { tags: [group], references: place?.seq, epoch: place?.epoch });
      this.#begun(group, groups[group], epoch, place);
      return groups;
    } catch (error) {
      if (error instanceof RejectedError && this.#wanted.get(group) === wanted) this.#wanted.delete(group);
      throw error;
    } finally {
      wanted.asking = false;
    }
  }

  #begun(group, begun, epoch, place) {
    if (!begun || !this.#wanted.has(group)) return;
    this.#subscribed.add(group);
    if (epoch) this.#keep(group, { seq: begun.cursor, epoch });
    if (begun.recovered === false) this.#calls.gap(group, Boolean(place?.epoch && epoch && place.epoch !== epoch));
  }

  #keep(group, place) {
    this.#places.set(group, place);
    this.#calls.write([[PREFIX + group, place]]).catch((error) => this.#calls.emit('error', error));
  }
}
