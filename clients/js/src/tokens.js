// The token of a client: when the application is asked for another one, and when the running one ends.

import { fromBase64 } from './base64.js';

const MARGIN_MAX_MS = 60_000;
const PASETO = 'v4.public.', SIGNATURE_BYTES = 64;

/** The application has no token that the server would take. */
export class NoTokenError extends Error {}

export class Tokens {
  #get;
  #renewable;
  #value;
  #refused;
  #ends = null;
  #margin = 0;

  /** `get` gives a token or a promise of a token; without one `fixed` is the token for ever; null where none is wanted. */
  constructor(get, fixed = null) {
    this.#renewable = Boolean(get);
    this.#get = get ?? (fixed && (() => fixed));
  }

  /** The token for the next connect; null where none is wanted. Throws what `get` throws, and NoTokenError. */
  async take() {
    if (!this.#get) return null;
    const known = this.#value && this.#value !== this.#refused && this.#ends !== null && Date.now() < this.#ends - this.#margin;
    return known ? this.#value : this.fresh();
  }

  /** A token from the application, whatever is known already. */
  async fresh() {
    const value = await this.#get();
    if (!value) throw new NoTokenError('getToken gave no token');
    if (value === this.#refused) throw new NoTokenError('getToken gave the token again that was refused');
    this.#value = value;
    const claims = claimsOf(value);
    const ends = endOf(claims), begins = beginOf(claims);
    this.#ends = ends;
    const life = ends === null ? 0 : Math.max(0, begins === null ? ends - Date.now() : ends - begins);
    this.#margin = Math.min(MARGIN_MAX_MS, life / 5);
    return value;
  }

  /** The server has refused the running token: the same one is not used again. False when no other can be asked for. */
  refuse() {
    this.#refused = this.#value;
    return Boolean(this.#get);
  }

  /** The next connect asks for a token, which may be the same. */
  forget() {
    this.#value = undefined;
  }

  /** After so many ms the running token is to be replaced; null when its end is not known. */
  renewIn() {
    return this.#renewable && this.#ends !== null ? Math.max(0, this.#ends - this.#margin - Date.now()) : null;
  }

  get value() {
    return this.#value;
  }

  /** The address that the running token stands for, as far as the token can be read here. */
  get subject() {
    return claimsOf(this.#value ?? '')?.sub;
  }
}

/** The claims of a JWT or a PASETO v4.public, unverified; null when the text is neither. */
function claimsOf(token) {
  try {
    if (token.startsWith(PASETO)) return parse(fromBase64Url(token.split('.')[2]).subarray(0, -SIGNATURE_BYTES));
    return parse(fromBase64Url(token.split('.')[1]));
  } catch {
    return null;
  }
}

const parse = (bytes) => JSON.parse(new TextDecoder().decode(bytes));
const fromBase64Url = (text) => fromBase64(text.replace(/-/g, '+').replace(/_/g, '/').padEnd(Math.ceil(text.length / 4) * 4, '='));
const timeOf = (claim) => {
  const time = typeof claim === 'number' ? claim * 1000 : Date.parse(claim);
  return Number.isFinite(time) ? time : null;
};
const endOf = (claims) => timeOf(claims?.exp);
const beginOf = (claims) => timeOf(claims?.iat ?? claims?.nbf);
