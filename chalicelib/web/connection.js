// Whether the server answers; while it does not, its health is asked for until it does.

import { Changing } from "./changes.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const PROBE_MS = 10_000;

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class Connection extends Changing {
  #returned = null;

  /** What is wrong in words, null when nothing is. */
  trouble = null;

  /** Note that the server did not answer; it is asked for its health from now on. */
  lost(trouble = "The server is away. Trying again…") {
    if (this.#returned === null) {
      this.#returned = this.#waitForHealth();
      this.#say(trouble);
    }
  }

  /** Resolves when the server answers again; at once when it does. */
  async back() {
    await this.#returned;
  }

  async #waitForHealth() {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      await sleep(pause);
      try {
        const answer = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(PROBE_MS) });
        if (answer.ok) break;
        this.#say("The server answers, but its database does not. Trying again…");
      } catch {
        this.#say("The server is away. Trying again…");
      }
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
