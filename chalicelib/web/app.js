// The page: the session, whether the server answers, and the views of both.

import { Api } from "./api.js";
import { clock, useChanging } from "./changes.js";
import { useEffect, useMemo, useState } from "./hooks.js";
import { html } from "./html.js";
import { render } from "./preact.js";
import { forgetEverything, forgetToken, keepToken, keptToken, readToken, tokenFromAddress } from "./session.js";
import { SignIn } from "./signin.js";
import { Workspace } from "./workspace.js";

/** The sign-in at a provider, if one is configured. */
const login = document.documentElement.dataset.loginClient ? (await import("./login.js")).configuredLogin() : null;
const AWAY = "You have signed out.";
const LAPSED = "The server no longer accepts your token: it has expired or is not valid. Sign in again to continue where you left off.";
const REFOCUS_MS = 100; // a new element may take the focus itself
const UNKNOWN = "The server does not accept this token: it is not valid here. Use another one.";
const UNKNOWN_OF_PROVIDER = "The server does not accept the provider's token: it is not valid here. Its operator should check the settings.";

/**
 * The session this tab starts with: from the link, else the stored one. `out` is null while a user is signed in, else
 * it gives the reason: a `notice`, or what is `wrong` with the token.
 */
function firstSession() {
  const linked = tokenFromAddress();
  const token = linked ?? keptToken();
  if (token === null) return { session: null, out: login?.arriving ? { waiting: "Signing you in…" } : {} };
  const session = readToken(token);
  if (session.wrong !== undefined) return { session: null, out: { wrong: session.wrong } };
  if (linked === null) login?.keep(session);
  else login?.forget(); // the stored refresh token belongs to another session
  keepToken(token);
  return { session, out: null };
}

function Page() {
  const [{ session, out }, setState] = useState(firstSession);
  const api = useMemo(() => {
    const made = new Api(refused);
    if (login !== null) made.fresh = () => login.fresh();
    return made;
  }, []);
  if (session !== null && out === null) api.use(session.token);

  function refused() {
    forgetToken();
    const unknown = login?.holds ? { notice: UNKNOWN_OF_PROVIDER } : { wrong: UNKNOWN };
    const why = api.worked ? { notice: LAPSED } : unknown;
    login?.forget();
    setState((now) => ({ ...now, out: now.session.expiresAt <= clock.now() ? { notice: LAPSED } : why }));
  }

  /** Sign in with a token that was typed or linked, or with a provider's, which `login` then renews. */
  function signIn(found, { renewed = false } = {}) {
    keepToken(found.token);
    if (renewed) login.keep(found);
    else login?.forget();
    api.use(found.token);
    setState({ session: found, out: null });
    api.connection.changed(); // makes all watchers read again
  }

  function signOut() {
    const leaving = login?.signOutAddress(); // before the next lines clear what it reads
    forgetEverything();
    login?.forget();
    api.use(null);
    setState({ session: null, out: {} });
    leaving?.then(
      (address) => address && location.assign(address),
      (error) => setState((now) => (now.session === null ? { session: null, out: { notice: `${AWAY} ${error.message}` } } : now)),
    );
  }

  useEffect(
    () =>
      login?.start({
        arrived: (found) => signIn(found, { renewed: true }),
        // An answer that nobody here requested must not sign out the current user.
        failed: (why) => setState((now) => (now.out === null ? now : { ...now, out: { notice: why } })),
        renewed(found) {
          api.use(found.token);
          setState((now) => ({ ...now, session: found }));
        },
        ended(why) {
          forgetToken();
          setState((now) => ({ ...now, out: { notice: why } }));
        },
      }),
    [],
  );

  useEffect(() => {
    const linked = () => {
      const token = tokenFromAddress();
      if (token === null) return;
      const found = readToken(token);
      if (found.wrong === undefined) signIn(found);
      else setState((now) => ({ ...now, out: { wrong: found.wrong } }));
    };
    window.addEventListener("hashchange", linked);
    return () => window.removeEventListener("hashchange", linked);
  }, []);

  return html`<${Header} session=${out === null ? session : null} signOut=${signOut} />
    <${Trouble} of=${api.connection} />
    ${login !== null && html`<${Trouble} of=${login} />`}
    ${out !== null && html`<${SignIn} why=${out} signIn=${signIn} login=${login} stays=${session !== null} />`}
    ${session !== null &&
    html`<div hidden=${out !== null}>
      <${Workspace} key=${`${session.role} ${session.user}`} api=${api} session=${session} />
    </div>`}`;
}

function Header({ session, signOut }) {
  return html`<header class="top">
    <a class="skip" href="#main">To the content</a>
    <p class="brand"><svg viewBox="0 0 20 20" aria-hidden="true"><path d="M2 14l5-5 4 3 7-8" /><path d="M13 4h5v5" /></svg>Day Trading</p>
    ${session !== null &&
    html`<div class="who">
      <span><strong>${session.user}</strong> <span class="tag">${session.role}</span></span>
      <span class="until">token until <time datetime=${new Date(session.expiresAt).toISOString()}>${untilOf(session.expiresAt)}</time></span>
      <button type="button" class="button small" onClick=${signOut}>Sign out</button>
    </div>`}
  </header>`;
}

function untilOf(ms) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return today ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

function Trouble({ of }) {
  useChanging(of);
  return html`<div role="status" class="trouble">${of.trouble && html`<p>${of.trouble}</p>`}</div>`;
}

/** When the focused element is removed, focus the part of the page it was in, not the top of the page. */
function keepFocus(place) {
  let last = null;
  let panel = null;
  place.addEventListener("focusin", ({ target }) => {
    last = target;
    panel = target.closest(".panel");
  });
  const lost = () => last !== null && !last.isConnected && document.activeElement === document.body;
  const refocus = () => {
    if (lost()) (panel?.isConnected ? panel.querySelector("h2") : document.querySelector("#main h1"))?.focus();
  };
  new MutationObserver(() => lost() && setTimeout(refocus, REFOCUS_MS)).observe(place, { childList: true, subtree: true });
}

const place = document.getElementById("page");
place.replaceChildren();
keepFocus(place);
if (login?.handBack()) render(html`<main class="signin"><h1>Sign in</h1><p>This window can be closed: go on in the one that opened it.</p></main>`, place);
else render(html`<${Page} />`, place);
