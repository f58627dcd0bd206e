// Signing in with a token.

import { useEffect, useRef, useState } from "./hooks.js";
import { Button, Field, Form, Outcome, useSending, Wrong } from "./form.js";
import { html } from "./html.js";
import { readToken } from "./session.js";

/** `why` says why one has to sign in; `signIn` is given a read token. */
export function SignIn({ why, signIn }) {
  const [token, setToken] = useState("");
  const sending = useSending();
  const wrong = sending.wrong ?? (why.wrong && !sending.busy ? { field: "token", text: why.wrong } : null);
  const form = useRef(null);
  useEffect(() => form.current.querySelector("input").focus(), []);
  const submit = () =>
    sending.submit("sign in", async () => {
      const session = readToken(token);
      if (session.wrong !== undefined) throw new Wrong("token", session.wrong);
      signIn(session);
    });
  return html`<main class="signin" id="main" ref=${form}>
    <h1>Sign in</h1>
    <p class="muted">Cash, shares, orders and triggers, exact to the cent.</p>
    ${why.notice && html`<p class="notice" role="alert">${why.notice}</p>`}
    <${Form} onSubmit=${submit} label="Sign in">
      <${Field} label="Token" name="token" value=${token} onInput=${setToken} sending=${{ wrong }} hint="A bearer token of this system. It stays in this tab and is forgotten when you close it." />
      <${Button} sending=${sending} kind="primary">Sign in<//>
      <${Outcome} sending=${sending} fields=${["token"]} />
    <//>
  </main>`;
}
