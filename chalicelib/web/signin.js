// Signing in: at the provider, if there is one, or with a token.

import { useEffect, useRef, useState } from "./hooks.js";
import { Button, Field, Form, Outcome, useSending, Wrong } from "./form.js";
import { html } from "./html.js";
import { readToken } from "./session.js";

/**
 * `why` says why a sign-in is needed; `signIn` gets a parsed token; `login` is null without a provider. `stays`: what
 * was typed is behind this form, and is kept.
 */
export function SignIn({ why, signIn, login, stays }) {
  const form = useRef(null);
  useEffect(() => form.current.querySelector(login === null ? "input" : "button").focus(), []);
  return html`<main class="signin" id="main" ref=${form}>
    <h1>Sign in</h1>
    <p class="muted">Cash, shares, orders and triggers, exact to the cent.</p>
    ${why.notice && html`<p class="notice" role="alert">${why.notice}</p>`}
    ${why.waiting && html`<p role="status">${why.waiting}</p>`}
    ${login === null
      ? html`<${WithToken} why=${why} signIn=${signIn} />`
      : html`<${AtProvider} login=${login} stays=${stays} />
          <details open=${why.wrong !== undefined}>
            <summary>With a token instead</summary>
            <${WithToken} why=${why} signIn=${signIn} />
          </details>`}
  </main>`;
}

function AtProvider({ login, stays }) {
  const sending = useSending();
  const submit = () =>
    sending.submit("at the provider", async () => {
      await login.begin(stays).catch((error) => {
        throw new Wrong(null, error.message);
      });
      return stays ? "Sign in in the window that has opened; what you typed here stays." : "";
    });
  return html`<${Form} onSubmit=${submit} label="Sign in at the provider">
    <${Button} sending=${sending} kind="primary">Sign in at ${login.name}<//>
    <${Outcome} sending=${sending} />
  <//>`;
}

function WithToken({ why, signIn }) {
  const [token, setToken] = useState("");
  const sending = useSending();
  const wrong = sending.wrong ?? (why.wrong && !sending.busy ? { field: "token", text: why.wrong } : null);
  const submit = () =>
    sending.submit("sign in", async () => {
      const session = readToken(token);
      if (session.wrong !== undefined) throw new Wrong("token", session.wrong);
      signIn(session);
    });
  return html`<${Form} onSubmit=${submit} label="Sign in">
    <${Field} label="Token" name="token" value=${token} onInput=${setToken} sending=${{ wrong }} hint="A bearer token of this system. It stays in this tab and is forgotten when you close it." />
    <${Button} sending=${sending} kind="primary">Sign in<//>
    <${Outcome} sending=${sending} fields=${["token"]} />
  <//>`;
}
