// A token endpoint in Express: a person logs in with a password, the page asks for a token, PostOffice verifies the token.
//
//     npm install express        (Debian: apt install node-express)
//     node tokens.cjs hash                        reads a password, prints its line for users.json
//     node tokens.cjs users.json keys/web.secret  serves on 127.0.0.1:8080
//
// users.json is {"alice": "SALT:HASH", …}. The key is the server's own (websocket-server keygen --kty hmac; config: auth.keyDir),
// and its name without .secret is the `kid`. Put TLS and a limit of attempts in front, as in front of any login.
const express = require('express');
const { createHmac, randomBytes, scryptSync, timingSafeEqual } = require('node:crypto');
const { readFileSync } = require('node:fs');
const path = require('node:path');

const TOKEN_SECONDS = 300; // the client library asks for the next token before this one ends
const LOGIN_SECONDS = 12 * 3600;

const [usersFile, keyFile, port = 8080] = process.argv.slice(2);
const hash = (password, salt) => scryptSync(password, salt, 32);
if (usersFile === 'hash') {
    const salt = randomBytes(16).toString('hex');
    console.log(`${salt}:${hash(readFileSync(0, 'utf8').trimEnd(), salt).toString('hex')}`);
    process.exit();
}

const users = new Map(Object.entries(JSON.parse(readFileSync(usersFile, 'utf8'))));
const key = Buffer.from(readFileSync(keyFile, 'utf8').trim(), 'base64');
const kid = path.basename(keyFile, '.secret');
const logins = new Map(); // cookie → {user, until}

// A user that does not exist costs as much time as one that does.
function isPassword(user, password) {
    const [salt, wanted] = (users.get(user) ?? `none:${'0'.repeat(64)}`).split(':');
    return timingSafeEqual(hash(password, salt), Buffer.from(wanted, 'hex')) && users.has(user);
}

function token(user) {
    const now = Math.floor(Date.now() / 1000);
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ alg: 'HS256', typ: 'JWT', kid })}.${part({
        sub: user, iat: now, exp: now + TOKEN_SECONDS, jti: randomBytes(9).toString('base64url'),
        po: { send: ['*'], groups: ['#room/*'] }, // whom the user may write to, and which groups are open
    })}`;
    return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
}

function loggedIn(request) {
    const cookie = /(?:^|;\s*)login=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1];
    const login = logins.get(cookie);
    if (login && login.until > Date.now()) return login.user;
    logins.delete(cookie);
    return undefined;
}

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '4kb' }));
app.post('/login', (request, answer) => {
    const { user, password } = request.body ?? {};
    if (typeof user !== 'string' || typeof password !== 'string' || !isPassword(user, password))
        return answer.status(401).json({ error: 'wrong name or password' });
    const cookie = randomBytes(24).toString('base64url');
    logins.set(cookie, { user, until: Date.now() + LOGIN_SECONDS * 1000 });
    answer.cookie('login', cookie, { httpOnly: true, sameSite: 'strict', secure: request.secure, maxAge: LOGIN_SECONDS * 1000 });
    return answer.json({ user });
});
app.post('/token', (request, answer) => {
    const user = loggedIn(request);
    return user ? answer.set('Cache-Control', 'no-store').json({ token: token(user) })
                : answer.status(401).json({ error: 'log in first' });
});
app.use('/postoffice', express.static(path.join(__dirname, '../clients/js/src'))); // or node_modules/postoffice-client/…
app.get('/chat.html', (request, answer) => answer.sendFile(path.join(__dirname, 'chat.html')));
app.listen(Number(port), '127.0.0.1', function () {
    console.log(`http://127.0.0.1:${this.address().port}/chat.html`);
});
