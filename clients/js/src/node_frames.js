// Frames of RFC 6455 section 5: bytes in, frames out, and the other way round.

export const CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

/** A rule of the RFC was broken; `code` is the close code that says so. */
export class FrameError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** A frame of a client: masked with fresh bytes (RFC 6455 5.3). */
export function encodeFrame(opcode, payload, mask, compressed = false) {
  const { length } = payload;
  const form = length < 126 ? 0 : length < 65536 ? 2 : 8;
  const frame = Buffer.allocUnsafe(2 + form + 4 + length);
  frame[0] = 0x80 | (compressed ? 0x40 : 0) | opcode;
  frame[1] = 0x80 | (form === 0 ? length : form === 2 ? 126 : 127);
  if (form === 2) frame.writeUInt16BE(length, 2);
  if (form === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  mask.copy(frame, 2 + form);
  const from = 6 + form;
  for (let at = 0; at < length; at++) frame[from + at] = payload[at] ^ mask[at & 3];
  return frame;
}

/** Takes bytes as they come and gives whole frames: {fin, compressed, opcode, payload}. */
export class FrameReader {
  #chunks = [];
  #bytes = 0;
  #most;

  constructor(most) {
    this.#most = most;
  }

  push(chunk) {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
  }

  /** The next frame, or null while bytes of it are missing. */
  next() {
    if (this.#bytes < 2) return null;
    const head = this.#peek(Math.min(this.#bytes, 10));
    const { length, form } = lengthOf(head);
    if (length === null) return null;
    checkHead(head, length, this.#most);
    if (this.#bytes < 2 + form + length) return null;
    const bytes = this.#peek(2 + form + length);
    this.#drop(2 + form + length);
    return { fin: (head[0] & 0x80) !== 0, compressed: (head[0] & 0x40) !== 0, opcode: head[0] & 15, payload: bytes.subarray(2 + form) };
  }

  /** The first bytes in one piece, joined only when they are needed whole. */
  #peek(count) {
    if (this.#chunks[0].length < count) {
      let joined = 0, upTo = 0;
      while (joined < count) joined += this.#chunks[upTo++].length;
      this.#chunks.splice(0, upTo, Buffer.concat(this.#chunks.slice(0, upTo), joined));
    }
    return this.#chunks[0].subarray(0, count);
  }

  #drop(count) {
    this.#bytes -= count;
    if (this.#chunks[0].length === count) this.#chunks.shift();
    else this.#chunks[0] = this.#chunks[0].subarray(count);
  }
}

/** The payload's length, null while bytes of it are missing, and the bytes that the length takes behind the first two. */
function lengthOf(head) {
  const short = head[1] & 0x7f;
  if (short < 126) return { length: short, form: 0 };
  const form = short === 126 ? 2 : 8;
  if (head.length < 2 + form) return { length: null, form };
  return { length: form === 2 ? head.readUInt16BE(2) : Number(head.readBigUInt64BE(2)), form };
}

function checkHead(head, length, most) {
  const opcode = head[0] & 15;
  if (head[1] & 0x80) throw new FrameError(1002, 'a server must not mask');
  if (head[0] & 0x30) throw new FrameError(1002, 'a reserved bit is set');
  if (opcode > 10 || (opcode > 2 && opcode < 8)) throw new FrameError(1002, 'an unknown opcode');
  if (opcode >= 8 && (length > 125 || !(head[0] & 0x80) || head[0] & 0x40)) throw new FrameError(1002, 'a bad control frame');
  if (length > most) throw new FrameError(1009, `a frame of ${length} bytes`);
}
