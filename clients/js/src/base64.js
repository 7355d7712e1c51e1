// Standard base64 with padding (RFC 4648 section 4), to and from bytes.

const STEP = 0x8000; // a call takes only so many arguments

export function toBase64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += STEP) text += String.fromCharCode(...bytes.subarray(at, at + STEP));
  return btoa(text);
}

export function fromBase64(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

/** The bytes of an array, a view or a buffer, without a copy. */
export function bytesOf(data) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError('bytes must be an ArrayBuffer or a view');
}

const encoder = new TextEncoder();
export const utf8 = (text) => encoder.encode(text);
