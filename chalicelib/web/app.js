// The page: who is signed in, whether the server answers, and what is seen of both.

import { Api } from "./api.js";
import { useChanging } from "./changes.js";
import { useEffect, useMemo, useState } from "./hooks.js";
import { html } from "./html.js";
import { render } from "./preact.js";
import { forgetEverything, forgetToken, keepToken, keptToken, readToken, tokenFromAddress } from "./session.js";
import { SignIn } from "./signin.js";
import { Workspace } from "./workspace.js";

const LAPSED = "The server no longer takes your token: it has expired or is not valid. Sign in again, and go on where you were.";
const UNKNOWN = "The server does not take this token: it is not valid here. Use another one.";

/**
 * The session that this tab begins with: from the link, else the one it had. `out` is null while somebody is signed in;
 * else it says why not: in a `notice`, or in what is `wrong` with the token.
 */
function firstSession() {
  const linked = tokenFromAddress();
  const token = linked ?? keptToken();
  if (token === null) return { session: null, out: {} };
  const session = readToken(token);
  if (session.wrong !== undefined) return { session: null, out: { wrong: session.wrong } };
  keepToken(token);
  return { session, out: null };
}

function Page() {
  const [{ session, out }, setState] = useState(firstSession);
  const api = useMemo(() => new Api(refused), []);
  if (session !== null && out === null) api.use(session.token);

  function refused() {
    forgetToken();
    const why = api.worked ? { notice: LAPSED } : { wrong: UNKNOWN };
    setState((now) => ({ ...now, out: now.session.expiresAt <= Date.now() ? { notice: LAPSED } : why }));
  }

  function signIn(found) {
    keepToken(found.token);
    api.use(found.token);
    setState({ session: found, out: null });
    api.connection.changed(); // whoever shows something looks again
  }

  function signOut() {
    forgetEverything();
    api.use(null);
    setState({ session: null, out: {} });
  }

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
    <${Trouble} connection=${api.connection} />
    ${out !== null && html`<${SignIn} why=${out} signIn=${signIn} />`}
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

function Trouble({ connection }) {
  useChanging(connection);
  return html`<div role="status" class="trouble">${connection.trouble && html`<p>${connection.trouble}</p>`}</div>`;
}

const place = document.getElementById("page");
place.replaceChildren();
render(html`<${Page} />`, place);
