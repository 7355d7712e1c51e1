// The errors that a caller of the library meets.

/** The server took the message for none of its recipients, or the library refused the message beforehand (`too-large`). */
export class RejectedError extends Error {
  constructor({ code, message, field, refused, inReplyTo, retryAfter }) {
    super(message || code);
    this.name = 'RejectedError';
    this.code = code;
    this.field = field;
    this.refused = refused ?? [];
    this.id = inReplyTo;
    this.retryAfter = retryAfter;
  }
}

/** The client is closed: by `close()`, or with a code after which the library does not reconnect (docs/protocol.md section 7). */
export class ClosedError extends Error {
  constructor(code, reason) {
    super(reason || `closed with ${code}`);
    this.name = 'ClosedError';
    this.code = code;
    this.reason = reason;
  }
}

/** No answer came in the time that `request()` was given. */
export class TimeoutError extends Error {
  constructor(message, id) {
    super(message);
    this.name = 'TimeoutError';
    this.code = null;
    this.id = id;
  }
}

/** The outbox is full: too many messages wait, or too many bytes. The message was not taken. */
export class OutboxFullError extends Error {
  constructor(message) {
    super(message);
    this.name = 'OutboxFullError';
    this.code = 'outbox-full';
  }
}
