// Finds a dead link: after a silence the library asks for a sign of life, and drops the link when none comes.

export class Heartbeat {
  #silence;
  #patience;
  #ask;
  #dead;
  #timer = null;
  #asked = false;
  #last = 0;
  #excused = false;

  /** Times in ms; `ask` asks the server for any sign, `dead` is called when none came. */
  constructor(silence, patience, ask, dead) {
    this.#silence = silence;
    this.#patience = patience;
    this.#ask = ask;
    this.#dead = dead;
  }

  start() {
    this.excuse(false);
    this.#wait(this.#silence);
  }

  alive() {
    this.#last = Date.now();
    if (this.#asked) this.#wait(this.#silence);
    this.#asked = false;
  }

  /** Asks now: the page has been asleep, or the network has changed. */
  check() {
    if (this.#timer === null || this.#asked) return;
    this.#question();
  }

  /** While the library itself does not read, silence means nothing; the server is shown a sign of life all the same. */
  excuse(on) {
    this.#excused = on;
    if (!on) this.alive();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #wait(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #question() {
    this.#asked = true;
    this.#wait(this.#patience);
    this.#ask();
  }

  #look() {
    if (this.#excused) this.#asked = false;
    if (this.#asked) return this.#dead();
    const quiet = Date.now() - this.#last;
    if (quiet < this.#silence && !this.#excused) return this.#wait(this.#silence - quiet);
    return this.#question();
  }
}
