// Whether the server answers; while it does not, its health is asked for until it does.

import { Changing } from "./changes.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const PROBE_MS = 10_000;
const SLOW_PROBE_MS = 1_000;
const PARTS = { mongodb: "database (MongoDB)", clock: "clock", data: "data" };

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Connection extends Changing {
  #returned = null;
  #probing = false;

  /** What is wrong in words, null when nothing is. */
  trouble = null;

  /** Note that the server did not answer; it is asked for its health from now on. */
  lost(trouble = "The server cannot be reached. Trying again…") {
    if (this.#returned === null) {
      this.#returned = this.#waitForHealth();
      this.#say(trouble);
    }
  }

  /** Look at the health of the parts, because an answer takes long; what is down is said by name. */
  async suspect() {
    if (this.#returned !== null || this.#probing) return;
    this.#probing = true;
    const slow = setTimeout(() => this.lost("The server is slow to answer. Trying again…"), SLOW_PROBE_MS);
    const wrong = await probe();
    clearTimeout(slow);
    this.#probing = false;
    if (wrong !== null) this.lost(wrong);
  }

  /** Resolves when the server answers again; at once when it does. */
  async back() {
    await this.#returned;
  }

  async #waitForHealth() {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      await sleep(pause);
      const wrong = await probe();
      if (wrong === null) break;
      this.#say(wrong);
    }
    this.#returned = null;
    this.#say(null);
  }

  #say(trouble) {
    if (this.trouble === trouble) return;
    this.trouble = trouble;
    this.changed();
  }
}

/** What is wrong with the server's health, in words; null when nothing is that trading needs. */
async function probe() {
  try {
    const answer = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
    return answer.ok ? null : inWords(await answer.text());
  } catch {
    return "The server cannot be reached. Trying again…";
  }
}

/** The part that an answer of /health names. */
function inWords(text) {
  const part = /down: (\w+)/.exec(text)?.[1];
  return part === undefined
    ? "The server is up, but cannot work. Trying again…"
    : `The server is up, but there is a problem with its ${PARTS[part] ?? part}. Trying again…`;
}
