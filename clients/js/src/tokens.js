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
  #ends = NaN; // unknown: the application is asked on every connect
  #margin = 0;

  /** `get` gives a token or a promise of a token; without one `fixed` is the token for ever; null where none is wanted. */
  constructor(get, fixed = null) {
    this.#renewable = Boolean(get);
    this.#get = get ?? (fixed && (() => fixed));
  }

  /** The token for the next connect; null where none is wanted. Throws what `get` throws, and NoTokenError. */
  async take() {
    if (!this.#get) return null;
    return this.#value !== this.#refused && Date.now() < this.#ends - this.#margin ? this.#value : this.fresh();
  }

  /** A token from the application, whatever is known already. */
  async fresh() {
    const value = await this.#get();
    if (!value) throw new NoTokenError('getToken gave no token');
    if (value === this.#refused) throw new NoTokenError('getToken gave the refused token');
    this.#value = value;
    const claims = claimsOf(value);
    this.#ends = timeOf(claims?.exp);
    const life = this.#ends - (timeOf(claims?.iat) || Date.now());
    this.#margin = Math.min(MARGIN_MAX_MS, Math.max(0, life) / 5);
    return value;
  }

  /** The server has refused the running token: the same one is not used again. False when no other can be asked for. */
  refuse() {
    this.#refused = this.#value;
    return Boolean(this.#get);
  }

  /** After so many ms the running token is to be replaced; NaN when its end is not known, or no other can be had. */
  renewIn() {
    return this.#renewable ? Math.max(0, this.#ends - this.#margin - Date.now()) : NaN;
  }

  get value() {
    return this.#value;
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
const fromBase64Url = (text) => fromBase64(text.replace(/-/g, '+').replace(/_/g, '/')); // atob needs no padding
const timeOf = (claim) => (typeof claim === 'number' ? claim * 1000 : Date.parse(claim)); // a PASETO has ISO 8601
