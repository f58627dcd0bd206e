// The client of the server: a command is sent until its outcome is known, always with the same key, so that it is
// executed once however often it was sent. Reads and quotes have no key: they change nothing.

import { clock } from "./changes.js";
import { Connection, sleep } from "./connection.js";

const PATIENCE_MS = 60_000; // then the user decides
const ANSWER_MS = 35_000; // longer than any answer may take
const MOST_TRIES = 12;
const LONGEST_PAUSE_MS = 10_000;
const SLOW_MS = 2_000; // after this the page says that the answer takes long
const AGAIN = new Set([502, 503, 504]); // a temporary failure of the server or of a proxy

/** After these 5xx nothing was changed; after any other, including a proxy's, a command may have been executed. */
const UNCHANGED = new Set(
  "quote_unavailable auth_unavailable clock_skew too_late server_busy unknown_data_version not_supported index_conflict".split(" "),
);

/** The server refused or rejected a request: `code` and `detail` are those of the problem. */
export class Refused extends Error {
  /** Whether the command may have been executed all the same, by this attempt or an earlier one. */
  mayBeDone = false;

  constructor(status, code, detail, retryAfterSeconds) {
    super(detail);
    Object.assign(this, { status, code, detail, retryAfterSeconds });
  }

  /** Whether to retry with the same key. */
  get uncertain() {
    return this.status >= 500 || this.mayBeDone;
  }
}

/** No answer arrived. */
export class Unreachable extends Error {
  uncertain = true;

  constructor(mayBeDone) {
    super();
    this.mayBeDone = mayBeDone;
  }
}

/** The user stopped waiting; only reads and quotes can be cancelled. */
export class GivenUp extends Error {
  uncertain = false;
}

/** Rethrow an error that is a fault of the page itself, not of the server or the network. */
export function throwFault(error) {
  if (error.code === undefined && !error.uncertain) throw error;
}

export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Api {
  #token = null;
  #refused;

  /** Whether the server no longer accepts the token. */
  lapsed = false;
  /** Whether the server has accepted the token before. */
  worked = false;
  connection = new Connection();
  /** Awaited before each attempt, so that an expired token can be renewed. */
  fresh = async () => {};

  /** `refused` is called when the server no longer accepts the token. */
  constructor(refused) {
    this.#refused = refused;
  }

  /** Use this token from now on. */
  use(token) {
    if (token === this.#token && !this.lapsed) return;
    this.#token = token;
    this.lapsed = false;
    this.worked = false;
  }

  get(path, options) {
    return this.#answer("GET", path, options);
  }

  post(path, body, options) {
    return this.#answer("POST", path, { key: newKey(), ...options, body });
  }

  /** Return the text of an answer that is not JSON. */
  async text(path, options = {}) {
    return (await this.#patiently("GET", path, options)).text;
  }

  /** Return an answer unparsed: `{status, headers, text}`. */
  whole(path, options = {}) {
    return this.#patiently("GET", path, options);
  }

  /** Return the JSON of an answer, null for 304 (nothing has changed). */
  async #answer(method, path, options = {}) {
    const answer = await this.#patiently(method, path, options);
    return answer.status === 304 ? null : parseJson(answer.text);
  }

  /** `waiting` is called with the reason for a delay; `patienceMs` and `signal` limit the wait. */
  async #patiently(method, path, { body, key, headers, signal, waiting = () => {}, patienceMs = PATIENCE_MS }) {
    const end = performance.now() + patienceMs;
    const changes = key !== undefined;
    let unknown = false; // the outcome of an earlier attempt
    for (let tries = 1; ; tries += 1) {
      await this.fresh();
      const token = this.#token;
      const slow = setTimeout(() => waiting("No answer yet. Still asking…"), SLOW_MS);
      const answer = await this.#once(method, path, body, key, headers, signal);
      clearTimeout(slow);
      if (signal?.aborted) throw new GivenUp();
      const over = tries >= MOST_TRIES || performance.now() >= end;
      if (answer === null) {
        this.connection.lost();
        if (over) throw new Unreachable(changes);
        unknown = changes;
        waiting("The server cannot be reached. This will be sent again when it is back, and will be done only once.");
        await until(signal, this.connection.back(), sleep(end - performance.now()));
        continue;
      }
      if (answer.status < 400) {
        this.worked = true;
        return answer;
      }
      const refusal = refusalOf(answer);
      if (refusal.code === "store_unavailable") this.connection.suspect();
      unknown ||= changes && answer.status >= 500 && !UNCHANGED.has(refusal.code);
      if (!AGAIN.has(answer.status) || over) {
        // A rejection is recorded under the key: an attempt that succeeded earlier would have been answered again.
        refusal.mayBeDone = unknown && ![409, 422].includes(answer.status);
        if (answer.status === 401) this.#lapse(token);
        throw refusal;
      }
      waiting(`${inWordsOf503(refusal)} Trying again…`);
      await until(signal, sleep(Math.min(Math.max(refusal.retryAfterSeconds * 1000, 500), LONGEST_PAUSE_MS)));
    }
  }

  #lapse(token) {
    if (this.lapsed || token !== this.#token) return; // another token is in use by now
    this.lapsed = true;
    this.#refused();
  }

  async #once(method, path, body, key, given = {}, signal = undefined) {
    const headers = { ...given, Authorization: `Bearer ${this.#token}` };
    if (key !== undefined) headers["Idempotency-Key"] = key;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    try {
      const response = await fetch(path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
        signal: AbortSignal.any([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]),
      });
      clock.learn(response.headers.get("Date"));
      return { status: response.status, headers: response.headers, text: await response.text() };
    } catch {
      return null;
    }
  }
}

/** Wait for the first of these; throws GivenUp if the user cancels first. */
async function until(signal, ...these) {
  const aborted = new Promise((done) => signal?.addEventListener("abort", done, { once: true }));
  await Promise.race([...these, aborted]);
  if (signal?.aborted) throw new GivenUp();
}

function refusalOf(answer) {
  const retryAfter = Number(answer.headers.get("Retry-After") ?? 1);
  let problem = {};
  try {
    problem = parseJson(answer.text) ?? {};
  } catch {
    // a proxy's own page
  }
  const { code = `http_${answer.status}`, detail = problem.message ?? "The server did not say why." } = problem;
  return new Refused(answer.status, code, String(detail), Number.isFinite(retryAfter) ? retryAfter : 1);
}

function inWordsOf503({ code }) {
  if (code === "quote_unavailable") return "No price is available right now.";
  if (code === "auth_unavailable") return "Your token cannot be checked right now.";
  return "The server cannot do this right now.";
}

// Exact integers: a transaction number has up to 63 bits, and a JavaScript number holds only 53 of them.
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const KEPT_DIGITS = 15;

/** Parse JSON; integers too large for a JavaScript number become strings. Throws SyntaxError. */
export function parseJson(text) {
  return JSON.parse(text.replace(TOKENS, (token) => (isLong(token) ? `"${token}"` : token)));
}

function isLong(token) {
  return token.length > KEPT_DIGITS && /^-?\d+$/.test(token);
}
