// The errors that a caller of the library meets.

class NamedError extends Error {
  constructor(name, message, fields) {
    super(message);
    Object.assign(this, { name, ...fields });
  }
}

/** The server took the message for none of its recipients, or the library refused the message beforehand (`too-large`). */
export class RejectedError extends NamedError {
  constructor({ code, message, field, refused, inReplyTo: id, retryAfter }) {
    super('RejectedError', message || code, { code, field, refused: refused ?? [], id, retryAfter });
  }
}

/** The client is closed: by `close()`, or with a code after which the library does not reconnect (docs/protocol.md section 7). */
export class ClosedError extends NamedError {
  constructor(code, reason) {
    super('ClosedError', reason || `closed with ${code}`, { code, reason });
  }
}

/** No answer came in the time that `request()` was given. */
export class TimeoutError extends NamedError {
  constructor(message, id) {
    super('TimeoutError', message, { code: null, id });
  }
}

/** The outbox is full: too many messages wait, or too many bytes. The message was not taken. */
export class OutboxFullError extends NamedError {
  constructor(message) {
    super('OutboxFullError', message, { code: 'outbox-full' });
  }
}
