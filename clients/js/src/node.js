// The library, as Node loads it: with a WebSocket of its own, and a storage in a folder.

import { webcrypto } from 'node:crypto';
import { NodeWebSocket } from './node_websocket.js';
import { platform } from './platform.js';

platform.crypto ??= webcrypto;
platform.WebSocket = NodeWebSocket; // also where Node has one: that one takes no headers and tells no HTTP status

export * from './index.js';
export { FileStorage } from './file_storage.js';
export { NodeWebSocket };
