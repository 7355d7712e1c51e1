// Listeners by the name of an event. A listener that throws does not keep the others from being called.

export class Emitter {
  #listeners = new Map();

  /** Calls `listener` with each event; returns a function that takes the listener away. */
  on(name, listener) {
    if (typeof listener !== 'function') throw new TypeError(`${name} needs a function`);
    this.#listeners.set(name, [...this.listeners(name), listener]);
    return () => this.off(name, listener);
  }

  off(name, listener) {
    this.#listeners.set(name, this.listeners(name).filter((each) => each !== listener));
  }

  listeners(name) {
    return this.#listeners.get(name) ?? [];
  }

  emit(name, value) {
    const listeners = this.listeners(name);
    const complain = (error) => (name === 'error' ? console.error('postoffice:', error) : this.emit('error', error));
    if (!listeners.length && name === 'error') complain(value);
    for (const listener of listeners) {
      try {
        listener(value);
      } catch (error) {
        complain(error);
      }
    }
  }
}
