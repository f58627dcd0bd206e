// Signing in at an OpenID Connect provider: authorization code with PKCE, and renewal by its refresh token. The
// protocol's checks are made by oauth4webapi, which is loaded only if a provider is set.

import { Changing, clock } from "./changes.js";
import { sleep } from "./connection.js";
import { keepToken, readToken } from "./session.js";

const BEGUN = "day-trading.login"; // of this tab: the request to the provider, until it is answered
const RENEWAL = "day-trading.renewal"; // of this tab, while a user of the provider is signed in: the refresh token
const CHANNEL = "day-trading.login"; // on which a window for signing in sends its answer to its tab
const IN_WINDOW = "window.";
const ANSWER_MS = 10_000;
const AHEAD_MS = 60_000; // a token is renewed this long before its end, or a third of its life if that is less
const TOLERANCE_SECONDS = 30;
const LONGEST_PAUSE_MS = 15_000;
const LONGEST_TIMER_MS = 3_600_000;
const LEAST_BETWEEN_MS = 5000; // between renewals: a provider whose clock is behind gives tokens that have expired
const RELEASE_MS = 500; // how long to wait for the lock of a page that was reloaded

const ENDED = "The provider has ended your sign-in. Sign in again to continue where you left off.";

/** A failed sign-in, with the reason in words; `away` if the provider did not answer. */
class LoginError extends Error {
  constructor(text, away = false) {
    super(text);
    this.away = away;
  }
}

/** The login that the page is configured with, null if there is none. */
export function configuredLogin() {
  const { loginClient, loginIssuer, loginScope, loginToken, loginOrigins, loginAudience } = document.documentElement.dataset;
  if (!loginClient) return null;
  return new Login({
    clientId: loginClient,
    issuer: new URL(loginIssuer),
    scope: loginScope,
    kind: `${loginToken}_token`,
    origins: loginOrigins.split(" "),
    audience: loginAudience,
  });
}

export class Login extends Changing {
  #told;
  #library = null;
  #metadata = null;
  #answer = takeAnswer();
  #windowed = null; // the sign-in begun in a window
  #renewing = null;
  #timer = null;
  #claimed = null; // the id of the sign-in that this tab renews
  #granted = null;
  #release = () => {};
  #renewed = -Infinity; // when a token was last renewed
  #handlers = { arrived() {}, failed() {}, renewed() {}, ended() {} };
  #session = null;

  /** What is wrong with the provider, in words; null for nothing. */
  trouble = null;

  constructor(told) {
    super();
    this.#told = told;
  }

  /** The provider's name on the page. */
  get name() {
    return this.#told.issuer.host;
  }

  /** Whether the user of this tab signed in at the provider. */
  get holds() {
    return renewal() !== null;
  }

  /** Whether this page was opened with the provider's answer, which has not been read yet. */
  get arriving() {
    return this.#answer !== null;
  }

  /** In a window opened for signing in: pass the answer to its tab, and close. Returns whether this is one. */
  handBack() {
    if (!this.#answer?.get("state")?.startsWith(IN_WINDOW)) return false;
    const channel = new BroadcastChannel(CHANNEL);
    channel.postMessage(this.#answer.toString());
    channel.close();
    window.close();
    return true;
  }

  /**
   * Handle the answer that this page was opened with, and from now on those of windows. `arrived` and `renewed` get a
   * session; `failed` (nobody signed in) and `ended` (the user is signed out) get the reason in words.
   */
  start(handlers) {
    this.#handlers = handlers;
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = ({ data }) => {
      const answer = new URLSearchParams(data);
      if (answer.get("state") !== this.#windowed?.state) return; // another tab's
      const begun = this.#windowed;
      this.#windowed = null;
      this.#arrive(answer, begun);
    };
    const answer = this.#answer;
    this.#answer = null;
    if (answer !== null) this.#arrive(answer, takeBegun(answer.get("state")));
    const look = () => document.visibilityState === "visible" && this.#plan();
    document.addEventListener("visibilitychange", look);
    return () => {
      channel.close();
      document.removeEventListener("visibilitychange", look);
    };
  }

  /** Go to the provider: in a window of its own if `apart`, so that what was typed here stays. */
  async begin(apart) {
    // Opened before anything is awaited: browsers allow a new window only during a click.
    const opened = apart ? window.open("", "_blank", "popup,width=520,height=720") : null;
    try {
      const { library, metadata } = await this.#provider();
      const begun = {
        hash: location.hash,
        state: (opened === null ? "" : IN_WINDOW) + library.generateRandomState(),
        nonce: library.generateRandomNonce(),
        verifier: library.generateRandomCodeVerifier(),
      };
      const target = this.#pageOf(metadata, "authorization_endpoint");
      const challenge = await library.calculatePKCECodeChallenge(begun.verifier);
      const { clientId, scope, kind, audience } = this.#told;
      const parameters = {
        response_type: "code",
        client_id: clientId,
        redirect_uri: ownAddress(),
        scope,
        state: begun.state,
        nonce: begun.nonce,
        code_challenge: challenge,
        code_challenge_method: "S256",
        ...(kind === "access_token" && { audience }), // Auth0 makes no access token for us without; others ignore it
      };
      for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value);
      if (opened === null) {
        sessionStorage.setItem(BEGUN, JSON.stringify(begun));
        location.assign(target);
      } else {
        this.#windowed = begun;
        opened.opener = null;
        opened.location.replace(target);
      }
    } catch (error) {
      opened?.close();
      throw this.#inWords(error);
    }
  }

  /** Renew this session's token before it expires, as long as the provider allows it. */
  keep(session) {
    this.#session = session;
    this.#claim();
    this.#plan();
  }

  /** Forget the refresh token and the timer of a session; a token that was pasted or linked has none. */
  forget() {
    clearTimeout(this.#timer);
    this.#release();
    sessionStorage.removeItem(RENEWAL);
    this.#session = null;
    this.#say(null);
  }

  /** Resolves at once while the token is valid; once it has expired (after sleep, say), when its renewal was tried. */
  async fresh() {
    if (this.#session === null || this.#session.expiresAt > clock.now() || !this.holds || this.#pauseMs > 0) return;
    await Promise.race([this.#granted, sleep(RELEASE_MS)]);
    if (this.#renews) await this.#renewOnce();
  }

  /**
   * The address at which the provider signs out its user, null for other sessions; throws LoginError. It holds no token,
   * because addresses are logged: the provider may ask for confirmation.
   */
  async signOutAddress() {
    if (!this.holds) return null;
    this.#metadata = null; // read again, so that nobody is sent to a provider that is down
    try {
      const { metadata } = await this.#provider();
      if (metadata.end_session_endpoint === undefined) return null;
      const target = this.#pageOf(metadata, "end_session_endpoint");
      const parameters = {
        client_id: this.#told.clientId,
        post_logout_redirect_uri: ownAddress(),
        logout_uri: ownAddress(), // Cognito's own name for it
      };
      for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value);
      return target;
    } catch (error) {
      throw this.#inWords(error);
    }
  }

  async #arrive(answer, begun) {
    try {
      if (begun === null) throw new LoginError("This sign-in was used already, or was begun in another tab. Sign in again.");
      await learnTime();
      const { library, metadata, client, options } = await this.#provider();
      const checked = library.validateAuthResponse(metadata, client, answer, begun.state);
      const response = await library.authorizationCodeGrantRequest(
        metadata, client, library.None(), checked, ownAddress(), begun.verifier, options(),
      );
      const tokens = await library.processAuthorizationCodeResponse(metadata, client, response, {
        expectedNonce: begun.nonce,
        requireIdToken: true,
      });
      this.#handlers.arrived(this.#sessionOf(tokens, { id: library.generateRandomState() }));
    } catch (error) {
      this.#handlers.failed(this.#inWords(error).message);
    }
  }

  /** The session that a provider's tokens start or continue; they are stored for this tab, together with `kept`. */
  #sessionOf(tokens, kept) {
    const token = tokens[this.#told.kind];
    if (token === undefined) throw new LoginError(`The provider gave no ${this.#told.kind.replace("_", " ")}.`);
    const session = readToken(token);
    if (session.wrong !== undefined) {
      const kind = this.#told.kind.replace("_", " ");
      throw new LoginError(`The provider's ${kind} cannot be used here: it must be a JWT that names a user of this system and when it ends.`);
    }
    keepToken(session.token);
    sessionStorage.setItem(RENEWAL, JSON.stringify({ ...kept, refresh_token: tokens.refresh_token ?? kept.refresh_token }));
    return session;
  }

  /** How long to wait before the next renewal. */
  get #pauseMs() {
    return Math.max(0, this.#renewed + LEAST_BETWEEN_MS - performance.now());
  }

  /** Whether this is the tab that renews. */
  get #renews() {
    return this.holds && renewal().id === this.#claimed;
  }

  /**
   * Renew in this tab once no other tab does. A duplicated tab has the same refresh token, and a provider that accepts
   * it only once would end the sign-in of both.
   */
  #claim() {
    this.#release();
    const kept = renewal();
    if (kept === null) return;
    const released = new Promise((release) => (this.#release = release));
    this.#granted = new Promise((granted) => {
      navigator.locks.request(`day-trading.${kept.id}`, () => {
        this.#claimed = kept.id;
        granted();
        this.#plan();
        return released;
      });
    });
  }

  /** Set the timer of the next renewal. */
  #plan() {
    clearTimeout(this.#timer);
    if (this.#session === null || !this.#renews || !renewal().refresh_token) return;
    const left = this.#session.expiresAt - clock.now();
    const wait = Math.max(this.#pauseMs, left - Math.min(AHEAD_MS, (this.#session.lifeMs ??= left) / 3));
    if (wait <= 0) this.#renewOnce();
    else this.#timer = setTimeout(() => this.#plan(), Math.min(wait, LONGEST_TIMER_MS));
  }

  /** Renew (single flight): concurrent callers wait for the same renewal. */
  #renewOnce() {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renew() {
    const before = this.#session;
    for (let pause = 1000; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        const { library, metadata, client, options } = await this.#provider();
        const { refresh_token } = renewal();
        const response = await library.refreshTokenGrantRequest(metadata, client, library.None(), refresh_token, options());
        const tokens = await library.processRefreshTokenResponse(metadata, client, response);
        if (this.#session !== before) return; // signed out, or in again, meanwhile
        if (readToken(tokens[this.#told.kind] ?? "").user !== before.user) throw new LoginError(ENDED);
        this.#session = this.#sessionOf(tokens, renewal());
        this.#renewed = performance.now();
        this.#say(null);
        this.#handlers.renewed(this.#session);
        this.#plan();
        return;
      } catch (error) {
        if (this.#session !== before) return;
        const why = this.#inWords(error);
        if (!why.away) {
          this.forget();
          this.#handlers.ended(ENDED);
          return;
        }
        if (before.expiresAt <= clock.now() + pause) return this.#say(null); // the server will refuse the token
        this.#say(`${why.message} You are signed in until your token ends. Trying again…`);
      }
      await sleep(pause);
      if (this.#session !== before) return;
    }
  }

  /** The library and the provider's metadata. */
  async #provider() {
    if (!isSecureContext) throw new LoginError("A browser signs in at a provider only from a page of https, or of this machine.");
    const library = (this.#library ??= await import("./oauth4webapi.js"));
    const { clientId, issuer, origins } = this.#told;
    const plain = issuer.protocol === "http:"; // on this machine: the server accepts no other
    const options = () => ({ [library.allowInsecureRequests]: plain, signal: AbortSignal.timeout(ANSWER_MS) });
    if (this.#metadata === null) {
      const response = await library.discoveryRequest(issuer, { algorithm: "oidc", ...options() });
      if (response.status >= 500) throw new LoginError(`The sign-in provider ${this.name} does not answer.`, true);
      const metadata = await library.processDiscoveryResponse(issuer, response);
      const origin = new URL(metadata.token_endpoint).origin;
      if (!origins.includes(origin)) {
        throw new LoginError(`The provider gives tokens at ${origin}, which this page may not ask: LOGIN_ORIGIN must be that.`);
      }
      this.#metadata = metadata;
    }
    const client = {
      client_id: clientId,
      [library.clockSkew]: Math.round((clock.now() - Date.now()) / 1000),
      [library.clockTolerance]: TOLERANCE_SECONDS,
    };
    return { library, metadata: this.#metadata, client, options };
  }

  /** The address of a provider's page; throws unless its scheme is https or the issuer's. */
  #pageOf(metadata, name) {
    const address = new URL(metadata[name]);
    if (address.protocol !== "https:" && address.protocol !== this.#told.issuer.protocol) {
      throw new LoginError(`The provider's ${name} is not the address of a page.`);
    }
    return address;
  }

  #inWords(error) {
    if (error instanceof LoginError) return error;
    const status = error.status ?? error.cause?.status;
    if (error.name === "TimeoutError" || (error instanceof TypeError && error.code === undefined) || status === 429 || status >= 500) {
      return new LoginError(`The sign-in provider ${this.name} does not answer.`, true);
    }
    if (error.error === "access_denied") return new LoginError("The provider has not signed you in: it was denied there.");
    const said = error.error ? `${error.error} ${error.error_description ?? ""}`.trim() : error.message;
    return new LoginError(`The provider's answer cannot be used: ${said}. Sign in again.`);
  }

  #say(trouble) {
    if (trouble === this.trouble) return;
    this.trouble = trouble;
    this.changed();
  }
}

/** This page's own address, never one from a parameter: where the provider sends users back to. */
const ownAddress = () => location.origin + location.pathname;

/** Learn the server's time, by which the provider's tokens are checked: this machine's clock may be wrong. */
async function learnTime() {
  try {
    const answer = await fetch("health", { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    clock.learn(answer.headers.get("Date"));
  } catch {
    // then use this machine's
  }
}

/** The provider's answer in the address, which is removed from the address bar; null if there is none. */
function takeAnswer() {
  const parameters = new URLSearchParams(location.search);
  if (!parameters.has("state") || !(parameters.has("code") || parameters.has("error"))) return null;
  history.replaceState(null, "", location.pathname + location.hash);
  return parameters;
}

/** Take the sign-in that this tab began with this state, and return to where it was; null if there is none. */
function takeBegun(state) {
  const begun = JSON.parse(sessionStorage.getItem(BEGUN));
  if (begun?.state !== state) return null;
  sessionStorage.removeItem(BEGUN);
  history.replaceState(null, "", location.pathname + begun.hash);
  return begun;
}

const renewal = () => JSON.parse(sessionStorage.getItem(RENEWAL));
