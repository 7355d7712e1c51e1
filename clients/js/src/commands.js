// Commands to the server and their answers (docs/protocol.md section 4).
//
// A lasting command is repeated until it is answered: after a lost link, and after a refusal that says when to come back.
// Any other command belongs to the running session, and fails when that ends.

import { toCommand } from './envelope.js';
import { RejectedError } from './errors.js';

const WINDOW = 32; // the server lets 64 of a session wait

export class Commands {
  #send;
  #waiting = new Map(); // id → command, in the order of asking
  #underWay = 0;
  #open = false;
  #closedBy = null;

  /** `send` hands an envelope to the session; false when it did not. */
  constructor(send) {
    this.#send = send;
  }

  /** True while an answer of the server is expected. */
  get busy() {
    return this.#waiting.size > 0;
  }

  /** A promise of the server's `result`. Fails with RejectedError, or with the error of `lost` or `closed`. */
  ask(subject, fields, { lasting = false } = {}) {
    return new Promise((resolve, reject) => {
      const envelope = toCommand(subject, fields);
      const command = { envelope, lasting, resolve, reject, sent: false };
      const refusal = this.#closedBy ?? (lasting || this.#open ? null : new Error('the session is not open'));
      if (refusal) {
        reject(refusal);
        return;
      }
      this.#waiting.set(envelope.id, command);
      if (lasting) this.#pump();
      else this.#transmit(command);
    });
  }

  /** True when the envelope answers a command. */
  answered(envelope) {
    const command = this.#waiting.get(envelope.inReplyTo);
    if (!command) return false;
    this.#sentBack(command);
    if (envelope.subject === 'rejected' && command.lasting && envelope.retryAfter) {
      command.timer = setTimeout(() => {
        command.timer = null;
        this.#pump();
      }, envelope.retryAfter);
      return true;
    }
    this.#waiting.delete(envelope.inReplyTo);
    if (envelope.subject === 'rejected') command.reject(new RejectedError(envelope));
    else command.resolve(envelope);
    this.#pump();
    return true;
  }

  /** The client connects, again perhaps: commands wait for the session from now on. */
  connecting() {
    this.#closedBy = null;
  }

  opened() {
    this.#open = true;
    this.#pump();
  }

  /** The session has ended. */
  lost(error) {
    this.#open = false;
    for (const command of this.#waiting.values()) {
      this.#sentBack(command);
      if (!command.lasting) this.#fail(command, error);
    }
  }

  closed(error) {
    this.#open = false;
    this.#closedBy = error;
    for (const command of this.#waiting.values()) this.#fail(command, error);
  }

  #fail(command, error) {
    clearTimeout(command.timer);
    this.#waiting.delete(command.envelope.id);
    command.reject(error);
  }

  #sentBack(command) {
    if (command.sent && command.lasting) this.#underWay--;
    command.sent = false;
  }

  #pump() {
    for (const command of this.#waiting.values()) {
      if (!this.#open || this.#underWay >= WINDOW) return;
      if (command.lasting && !command.sent && !command.timer) this.#transmit(command);
    }
  }

  #transmit(command) {
    if (!this.#send(command.envelope)) return;
    command.sent = true;
    if (command.lasting) this.#underWay++;
  }
}
