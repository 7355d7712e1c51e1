// Node's ws (Debian's node-ws).
'use strict';
const fs = require('fs');
const WebSocket = require('ws');
const { order, talk } = require('./node_talk.js');

talk(new WebSocket(order.url, order.protocols, {
  headers: order.headers,
  perMessageDeflate: order.compress,
  family: 4, // localhost may be ::1 first, and this node tries one address
  ca: order.ca ? fs.readFileSync(order.ca) : undefined,
}), (socket) => socket.extensions.includes('permessage-deflate'));
