// Messages as an async iterator: a message counts as handled when the next one is asked for.

import { NOT_HANDLED } from './inbox.js';

export class MessageIterator {
  #detach;
  #demand = null; // resolves the promise of next()
  #offer = null; // a message that nobody has asked for yet
  #current = null; // settles the handling of the message that was given last
  #end = null;

  /** `attach(handler)` makes the handler a handler of messages, and returns a function that takes the handler away. */
  constructor(attach) {
    this.#detach = attach((message) => this.#handle(message));
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    this.#current?.resolve();
    this.#current = null;
    if (this.#end) return this.#end.error ? Promise.reject(this.#end.error) : Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve, reject) => {
      this.#demand = { resolve, reject };
      this.#give();
    });
  }

  /** The loop is left: the message that was given last waits for the next handler. */
  return(value) {
    this.end();
    return Promise.resolve({ value, done: true });
  }

  /** No message comes any more; with an error when the client was closed by the server. */
  end(error = null) {
    if (this.#end) return;
    this.#end = { error };
    this.#detach();
    this.#current?.reject(NOT_HANDLED);
    this.#offer?.reject(NOT_HANDLED);
    this.#current = this.#offer = null;
    if (error) this.#demand?.reject(error);
    else this.#demand?.resolve({ value: undefined, done: true });
  }

  #handle(message) {
    return new Promise((resolve, reject) => {
      this.#offer = { message, resolve, reject };
      this.#give();
    });
  }

  #give() {
    if (!this.#demand || !this.#offer) return;
    const { message } = this.#offer;
    this.#current = this.#offer;
    const { resolve } = this.#demand;
    this.#offer = this.#demand = null;
    resolve({ value: message, done: false });
  }
}
