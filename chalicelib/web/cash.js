// Putting cash into the account.

import { useState } from "./hooks.js";
import { Button, Field, Form, Outcome, Sure, useSending } from "./form.js";
import { html, Panel } from "./html.js";
import { centsOf, shown, wireOf } from "./money.js";
import { readCents, UNUSUAL_CENTS } from "./ticket.js";

export function AddCash({ account }) {
  const [amount, setAmount] = useState("");
  const sending = useSending();
  const add = () =>
    sending.submit(["add", amount], async ({ key, waiting, sure }) => {
      const cents = readCents("amount", amount, "An amount");
      sure(cents >= UNUSUAL_CENTS ? `${shown(cents)} is a lot of cash to add. Is that right?` : null);
      const answer = await account.command("add", { amount: wireOf(cents) }, { key: key(), waiting });
      setAmount("");
      return `Added ${shown(cents)}. Cash is ${shown(centsOf(answer.cash))}.`;
    });
  return html`<${Panel} id="cash" title="Add cash">
    <${Form} onSubmit=${add} label="Add cash">
      <div class="row">
        <${Field} label="Amount to add" name="amount" value=${amount} onInput=${setAmount} sending=${sending} unit="$" mode="decimal" />
        <${Button} sending=${sending} kind="primary">Add cash<//>
      </div>
      <${Sure} sending=${sending} yes="Yes, add it" />
    <//>
    <${Outcome} sending=${sending} fields=${["amount"]} />
  <//>`;
}
