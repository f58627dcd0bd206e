// Whether the server and its parts are healthy: checked while the page is visible, and until they are.

import { Changing } from "./changes.js";

// A failure is shown within 3 s: this, the second that the server gives its database, and the time it shares a check.
const EVERY_MS = 1_900;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5_000;
const PROBE_MS = 10_000;
const SLOW_PROBE_MS = 1_100;
const PARTS = { mongodb: "database (MongoDB)" };

const UNREACHABLE = "The server cannot be reached. Trying again…";

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Connection extends Changing {
  #returned = null;
  #probing = false;
  #due = 0;

  /** What is wrong, in words; null if trading is possible. */
  trouble = null;
  /** Changes with `answer`, the latest answer of /health; null for none. */
  health = new Changing();

  /** Check the health 1.9 s after it was last known while the page is visible; returns a function that stops it. */
  open() {
    let timer;
    const look = () => {
      const now = performance.now();
      if (now >= this.#due) {
        this.known(now);
        document.hidden || this.suspect();
      }
      timer = setTimeout(look, this.#due - now);
    };
    look();
    return () => clearTimeout(timer);
  }

  /** Postpone the next check: a request sent at `askedAt` (`performance.now()`) has shown that the database answers. */
  known(askedAt) {
    this.#due = askedAt + EVERY_MS;
  }

  /** Note that the server did not answer; its health is checked from now on. */
  lost(trouble = UNREACHABLE) {
    if (this.#returned === null) {
      this.#returned = this.#waitForHealth();
      this.#say(trouble);
    }
  }

  /** Check the health now; the message names the part that is down. */
  async suspect() {
    if (this.#returned !== null || this.#probing) return;
    this.#probing = true;
    const slow = setTimeout(() => this.lost("The server is slow to answer. Trying again…"), SLOW_PROBE_MS);
    const trouble = await this.#probe();
    clearTimeout(slow);
    this.#probing = false;
    if (trouble === null) return;
    this.lost(trouble);
    this.#say(trouble);
  }

  /** Resolves when the server answers again, at once if it does now. */
  async back() {
    await this.#returned;
  }

  async #waitForHealth() {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      await sleep(pause);
      const trouble = await this.#probe();
      if (trouble === null) break;
      this.#say(trouble);
    }
    this.#returned = null;
    this.#say(null);
  }

  /** Return what is wrong, in words; null if trading is possible. */
  async #probe() {
    let found = null;
    try {
      const answer = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
      found = await answer.json();
      return answer.ok ? null : inWords(found);
    } catch {
      return UNREACHABLE;
    } finally {
      this.health.answer = found;
      this.health.changed();
    }
  }

  #say(trouble) {
    if (this.trouble === trouble) return;
    this.trouble = trouble;
    this.changed();
  }
}

/** Describe the part that an answer of /health names. */
function inWords({ detail }) {
  const part = /down: (\w+)/.exec(detail)?.[1];
  return part === undefined
    ? "The server is up, but cannot work. Trying again…"
    : `The server is up, but there is a problem with its ${PARTS[part] ?? part}. Trying again…`;
}
