// The WebSocket that Node itself has from version 22 on, and earlier behind --experimental-websocket. NODE_EXTRA_CA_CERTS
// names the certificate to trust; the program cannot choose whether to compress.
'use strict';
const { order, talk } = require('./node_talk.js');

const options = order.protocols.length ? { protocols: order.protocols } : {};
if (Object.keys(order.headers).length)
  options.headers = order.headers;
talk(new WebSocket(order.url, options), (socket) => socket.extensions.includes('permessage-deflate'));
