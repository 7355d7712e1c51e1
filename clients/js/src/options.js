// The options of a client, checked and with their defaults.

import { platform } from './platform.js';

const DEFAULTS = {
  ackBatch: 16, ackDelay: 200, maxWaiting: 1000, maxWaitingBytes: 16 << 20, rememberIds: 2000, onHandlerError: 'retry',
  heartbeat: 15, heartbeatTimeout: 10, minBackoff: 1000, maxBackoff: 60_000, connectTimeout: 20_000, closeTimeout: 5000,
  outboxMessages: 10_000, outboxBytes: 16 << 20, sendWindow: 32, ordered: true,
};

export function optionsOf(given) {
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== null));
  const options = { ...DEFAULTS, WebSocket: platform.WebSocket, ...set };
  if (typeof options.url !== 'string' || !/^wss?:\/\//.test(options.url)) throw new TypeError('url must begin with ws:// or wss://');
  if (options.getToken && typeof options.getToken !== 'function') throw new TypeError('getToken must be a function');
  if (!['retry', 'skip'].includes(options.onHandlerError)) throw new TypeError('onHandlerError must be "retry" or "skip"');
  if (!options.WebSocket) throw new TypeError('there is no WebSocket here: give one as the option WebSocket');
  for (const [name, value] of Object.entries(DEFAULTS)) {
    if (typeof value === 'number' && !(Number.isFinite(options[name]) && options[name] >= 0)) throw new TypeError(`${name} must be a number`);
  }
  // A message that comes again while so many wait must be recognised.
  options.rememberIds = Math.max(options.rememberIds, 2 * options.maxWaiting);
  if (options.headers || options.tls) options.socketOptions = { headers: options.headers, ...options.tls };
  return options;
}
