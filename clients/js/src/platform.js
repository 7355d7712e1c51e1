// What differs between a browser and Node. node.js fills in what Node has; a bundle for browsers holds this file alone.

export const platform = {
  /** The WebSocket that is used when the options name none. */
  WebSocket: globalThis.WebSocket,
  crypto: globalThis.crypto,
  /** Makes the storage that a text names; see storageOf in storage.js. */
  storages: {},
};
