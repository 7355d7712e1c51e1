// What send() returns: a promise of the server's answer, with the receipts that come later.
//
// A promise that nobody waits for does not end a Node process when it fails: the event `rejected` tells of it.

export class Sent extends Promise {
  /** Promises that `then` makes are plain ones. */
  static get [Symbol.species]() {
    return Promise;
  }

  #resolve;
  #reject;
  #stored;
  #listeners = [];

  constructor(id) {
    let calls;
    super((resolve, reject) => { calls = { resolve, reject }; });
    this.#resolve = calls.resolve;
    this.#reject = calls.reject;
    /** The id of the message, known at once. */
    this.id = id;
    /** Settles when the storage has the message. */
    this.stored = new Promise((resolve) => { this.#stored = resolve; });
    /** Receipts that have come: {id, from, state}. */
    this.receipts = [];
    this.catch(() => {});
  }

  /** Calls `listener` with each receipt, those that have come already included. */
  onReceipt(listener) {
    this.receipts.forEach(listener);
    this.#listeners.push(listener);
    return this;
  }

  /** For the library. */
  keep() {
    this.#stored();
  }

  /** For the library. */
  settle(result) {
    this.#resolve(result);
  }

  /** For the library. */
  fail(error) {
    this.#reject(error);
  }

  /** For the library. */
  tell(receipt) {
    this.receipts.push(receipt);
    for (const listener of this.#listeners) listener(receipt);
  }
}
