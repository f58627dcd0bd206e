// What somebody sees who is signed in: a trader its account; an operator any account, everybody's log and the system.

import { Account } from "./account.js";
import { AddCash } from "./cash.js";
import { useChanging } from "./changes.js";
import { Dump } from "./dump.js";
import { Button, Field, Form, useSending, Wrong } from "./form.js";
import { Glance, Holdings } from "./holdings.js";
import { useEffect, useMemo, useState } from "./hooks.js";
import { html } from "./html.js";
import { Orders } from "./orders.js";
import { Past } from "./past.js";
import { System } from "./system.js";
import { Ticket } from "./ticket.js";
import { Triggers } from "./triggers.js";

const USER = /^[A-Za-z0-9_-]{1,64}$/;

export function Workspace({ api, session }) {
  return session.role === "operator"
    ? html`<${Operator} api=${api} />`
    : html`<main id="main"><h1 class="unseen">The account of ${session.user}</h1><${AccountView} api=${api} user=${session.user} /></main>`;
}

function AccountView({ api, user }) {
  const account = useMemo(() => new Account(api, user), [api, user]);
  const [symbol, setSymbol] = useState("");
  useChanging(account);
  useEffect(() => account.open(), [account]);
  const choose = (chosen) => {
    setSymbol(chosen);
    document.querySelector("#trade input[name=amount]").focus();
  };
  if (account.summary === null) return html`<p class="loading" role="status">${account.problem ?? "Looking at the account…"}</p>`;
  return html`<div class="account">
    ${account.problem && html`<p class="notice" role="status">What you see may be old. ${account.problem}</p>`}
    <${Glance} account=${account} />
    <p class="news" role="status">${account.news}</p>
    <div class="columns">
      <div class="column">
        <${Ticket} account=${account} symbol=${symbol} choose=${setSymbol} />
        <${Orders} account=${account} />
      </div>
      <div class="column">
        <${Holdings} account=${account} choose=${choose} />
        <${Triggers} account=${account} />
      </div>
      <div class="column">
        <${AddCash} account=${account} />
        <${Past} account=${account} />
        <${Dump} api=${api} path=${`${account.path}/dumplog`} done=${() => account.refresh()} />
      </div>
    </div>
  </div>`;
}

function Operator({ api }) {
  const [user, setUser] = useState(null);
  const [typed, setTyped] = useState("");
  const sending = useSending();
  const look = () =>
    sending.submit("look up", async () => {
      const name = typed.trim();
      if (!USER.test(name)) throw new Wrong("user", "A user is 1 to 64 of letters, digits, _ and -.");
      setUser(name);
    });
  return html`<main id="main" class="operator">
    <h1 class="unseen">${user === null ? "The system" : `The account of ${user}`}</h1>
    <div class="lookup">
      <nav aria-label="Views">
        <button type="button" class="button quiet" aria-current=${user === null ? "page" : undefined} onClick=${() => setUser(null)}>System</button>
        ${user !== null && html`<button type="button" class="button quiet" aria-current="page">Account of ${user}</button>`}
      </nav>
      <${Form} onSubmit=${look} label="Look up a user" class="form lookup-form">
        <${Field} label="User" name="user" value=${typed} onInput=${setTyped} sending=${sending} />
        <${Button} sending=${sending}>Look up<//>
      <//>
    </div>
    ${user === null
      ? html`<div class="columns of-two">
          <div class="column wide"><${System} api=${api} /></div>
          <div class="column"><${Dump} api=${api} path="dumplog" all=${true} /></div>
        </div>`
      : html`<${AccountView} key=${user} api=${api} user=${user} />`}
  </main>`;
}
