// What both Node programs say and wait for. talk(socket) works on the members that a WebSocket of a browser has.
'use strict';

const order = JSON.parse(require('fs').readFileSync(0));

function envelope(fields) {
  return JSON.stringify({ from: order.address, subject: '', content: '', ...fields });
}

function talk(socket, compressed) {
  const told = {};
  let accepted = false;
  socket.addEventListener('message', (event) => {
    const message = JSON.parse(event.data);
    if (message.subject === 'welcome')
      socket.send(envelope({ to: [order.address], type: 1, id: 'foreign', content: order.content }));
    else if (message.subject === 'accepted')
      accepted = true;
    else if (message.from === order.address)
      Object.assign(told, { content: message.content, seq: message.seq });
    else if (message.subject === 'result' && message.inReplyTo === 'ack') {
      told.cursor = message.cursor;
      socket.close(1000);
    }
    if (accepted && told.seq && !told.asked) {
      told.asked = true;
      socket.send(envelope({ to: ['postmaster'], type: 4, subject: 'ack', references: told.seq, id: 'ack' }));
    }
  });
  socket.addEventListener('close', (event) => {
    delete told.asked;
    console.log(JSON.stringify({ ...told, protocol: socket.protocol, code: event.code, compressed: compressed(socket) }));
  });
  socket.addEventListener('error', (event) => {
    console.error('error', event.message || event.error);
    process.exitCode = 1;
  });
}

module.exports = { order, talk };
