// Random names: ids of messages, names of devices.

import { platform } from './platform.js';

/** So many random bytes as hexadecimal digits. */
export function randomHex(bytes) {
  return Array.from(platform.crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A UUIDv7 (RFC 9562 5.7) with 72 random bits: ids sort by the time of their making. */
export function newId() {
  const time = Date.now().toString(16).padStart(12, '0');
  const random = randomHex(9);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(0, 3)}-a${random.slice(3, 6)}-${random.slice(6)}`; // a: the variant 10
}
