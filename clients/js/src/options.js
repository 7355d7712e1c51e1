// The options of a client, checked and with their defaults.

import { platform } from './platform.js';
import { present } from './present.js';

const DEFAULTS = {
  ackBatch: 16, ackDelay: 200, maxWaiting: 1000, maxWaitingBytes: 16 << 20, rememberIds: 2000, onHandlerError: 'retry',
  heartbeat: 15, heartbeatTimeout: 10, minBackoff: 1000, maxBackoff: 60_000, connectTimeout: 20_000, closeTimeout: 5000,
  outboxMessages: 10_000, outboxBytes: 16 << 20, sendWindow: 32, ordered: true,
};

export function optionsOf(given) {
  const options = { ...DEFAULTS, WebSocket: platform.WebSocket, ...present(given) };
  for (const [name, value] of Object.entries(DEFAULTS)) {
    if (typeof options[name] !== typeof value || options[name] < 0) throw new TypeError(`${name} must be a ${typeof value}`);
  }
  if (!/^wss?:/.test(options.url)) throw new TypeError('url must begin with ws: or wss:');
  if (!options.WebSocket) throw new TypeError('there is no WebSocket');
  // A message that comes again while so many wait must be recognised.
  options.rememberIds = Math.max(options.rememberIds, 2 * options.maxWaiting);
  if (options.headers || options.tls) options.socketOptions = { headers: options.headers, ...options.tls };
  return options;
}
