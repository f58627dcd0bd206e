// What a signed-in user sees: a trader their account; an operator any account, the log of all users and the system.

import { Account } from "./account.js";
import { useChanging } from "./changes.js";
import { Dump } from "./dump.js";
import { News } from "./events.js";
import { Button, Field, Form, useSending, Wrong } from "./form.js";
import { History } from "./history.js";
import { Glance, Holdings } from "./holdings.js";
import { useEffect, useMemo, useState } from "./hooks.js";
import { html } from "./html.js";
import { Orders } from "./orders.js";
import { AddCash, Ticket } from "./ticket.js";
import { Triggers } from "./triggers.js";

const USER = /^[A-Za-z0-9_-]{1,64}$/;

export function Workspace({ api, session }) {
  useEffect(() => api.connection.open(), [api]);
  return session.role === "operator"
    ? html`<${Operator} api=${api} viewer=${session.user} />`
    : html`<main id="main"><h1 class="unseen" tabindex="-1">The account of ${session.user}</h1><${AccountView} api=${api} user=${session.user} viewer=${session.user} /></main>`;
}

const isEmpty = ({ cash, positions, pending_buys: buys, buy_triggers: triggers }) =>
  cash === "0.00" && Object.keys(positions).length + buys.length + triggers.length === 0;

function AccountView({ api, user, viewer }) {
  const account = useMemo(() => new Account(api, user, viewer), [api, user]);
  const [order, setOrder] = useState({ symbol: "", side: "buy", all: 0 });
  const [wasEmpty, setWasEmpty] = useState(null); // set once, on arrival: the form must not move while it is used
  useChanging(account);
  useEffect(() => account.open(), [account]);
  const read = account.view !== null;
  useEffect(() => {
    if (read) setWasEmpty(isEmpty(account.view));
  }, [read]);
  const change = (part) => setOrder((now) => ({ ...now, ...part }));
  const choose = ({ symbol, side, all = false }) => {
    setOrder((now) => ({ symbol, side, all: all ? now.all + 1 : now.all }));
    const field = document.querySelector("#trade input[name=amount]");
    field.focus();
    field.scrollIntoView({ block: "nearest" });
  };
  if (!read || wasEmpty === null) return html`<p class="loading" role="status">${account.problem ?? "Loading the account…"}</p>`;
  const cash = html`<${AddCash} account=${account} />`;
  return html`<div class="account">
    <div role="status" class="old">${account.problem && html`<p class="notice">What you see may be old. ${account.problem}</p>`}</div>
    ${viewer !== user && !account.view.exists && html`<p class="notice">No such user: ${user} has no account. The first command would make one.</p>`}
    <${News} account=${account} />
    <${Glance} account=${account} />
    <div class="columns">
      <div class="column">
        ${wasEmpty && cash}
        <${Ticket} account=${account} order=${order} change=${change} />
      </div>
      <div class="column">
        <${Orders} account=${account} />
        <${Holdings} account=${account} choose=${choose} />
        <${Triggers} account=${account} />
      </div>
      <div class="column">
        ${!wasEmpty && cash}
        <${History} api=${api} account=${account} />
        <${Dump} api=${api} path=${`${account.path}/dumplog`} done=${() => account.refresh()} />
      </div>
    </div>
  </div>`;
}

const SYSTEM = "#/system";
const addressOf = (user) => (user === null ? SYSTEM : `#/users/${user}`);

/** The user in the address, null for the system. */
function userInAddress() {
  const user = /^#\/users\/(.+)$/.exec(location.hash)?.[1] ?? null;
  return user !== null && USER.test(user) ? user : null;
}

/** The operator's place, in the address: Back and Reload work. */
function useAddress() {
  const [user, setUser] = useState(userInAddress);
  useEffect(() => {
    const moved = () => setUser(userInAddress());
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  return user;
}

/** The live view of the system; traders do not load its modules. */
function LateSystem({ api }) {
  const [System, setSystem] = useState(null);
  const [missing, setMissing] = useState(false);
  useEffect(() => {
    import("./system.js").then(
      (module) => setSystem(() => module.System),
      () => setMissing(true),
    );
  }, []);
  if (System !== null) return html`<${System} api=${api} />`;
  return html`<p class="loading" role="status">${missing ? "This part of the page could not be loaded. Load the page again." : "Loading…"}</p>`;
}

function Operator({ api, viewer }) {
  const user = useAddress();
  const [typed, setTyped] = useState("");
  const sending = useSending();
  const look = () =>
    sending.submit("look up", async () => {
      const name = typed.trim();
      if (!USER.test(name)) throw new Wrong("user", "A user is 1 to 64 of letters, digits, _ and -.");
      location.hash = addressOf(name);
    });
  return html`<main id="main" class="operator">
    <h1 class="unseen" tabindex="-1">${user === null ? "The system" : `The account of ${user}`}</h1>
    <div class="lookup">
      <nav aria-label="Views">
        <a class="button quiet" href=${SYSTEM} aria-current=${user === null ? "page" : undefined}>System</a>
        ${user !== null && html`<a class="button quiet" href=${addressOf(user)} aria-current="page">Account of ${user}</a>`}
      </nav>
      <${Form} onSubmit=${look} label="Look up a user" class="form lookup-form">
        <${Field} label="User" name="user" value=${typed} onInput=${setTyped} sending=${sending} />
        <${Button} sending=${sending}>Look up<//>
      <//>
    </div>
    ${user === null
      ? html`<div class="columns of-two">
          <div class="column wide"><${LateSystem} api=${api} /></div>
          <div class="column"><${Dump} api=${api} path="dumplog" all=${true} /></div>
        </div>`
      : html`<${AccountView} key=${user} api=${api} user=${user} viewer=${viewer} />`}
  </main>`;
}
