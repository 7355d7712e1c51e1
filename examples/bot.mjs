// A bot that answers: node bot.mjs ws://127.0.0.1:7600/ws, with a token for "bot" in TOKEN (websocket-server token issue --sub bot --send '*').
// What a crash leaves unfinished is answered after the next start, under the same id: nobody reads an answer twice.
import { PostOffice } from '../clients/js/src/node.js'; // from npm: 'postoffice-client'

const bot = new PostOffice({ url: process.argv[2], token: process.env.TOKEN, device: 'bot' });
bot.on('error', console.error);
bot.serve((message) => (message.inReplyTo ? undefined : `You said: ${message.text}`)); // two bots would answer each other for ever
await bot.connect();
