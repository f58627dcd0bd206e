// Triggers: what waits for a price, how far that is, and the form that sets them.

import { useState } from "./hooks.js";
import { Button, Choice, Field, Form, Outcome, useSending, Wrong } from "./form.js";
import { Empty, html, Panel, plural } from "./html.js";
import { centsOf, distance, shown, wireOf } from "./money.js";
import { readCents, readSymbol } from "./ticket.js";

export function Triggers({ account }) {
  const { buy_triggers: buys, sell_triggers: sells } = account.summary;
  const all = [...buys.map((trigger) => ({ ...trigger, side: "buy" })), ...sells.map((trigger) => ({ ...trigger, side: "sell" }))];
  const cancelling = useSending();
  const cancel = (trigger) => async () => {
    await cancelling.submit(["cancel", trigger], async (key, waiting) => {
      await account.command(`cancel-set-${trigger.side}`, { symbol: trigger.symbol }, { key: key(), waiting });
      return `Cancelled: the trigger to ${trigger.side} ${trigger.symbol}.`;
    });
    if (document.activeElement === document.body) document.getElementById("triggers-title").focus();
  };
  return html`<${Panel} id="triggers" title="Triggers" note="run by themselves when the price is reached">
    ${all.length === 0 && html`<${Empty}>No trigger waits.<//>`}
    ${all.length > 0 &&
    html`<ul class="triggers">
      ${all.map((trigger) => html`<${Trigger} key=${`${trigger.side} ${trigger.symbol}`} account=${account} trigger=${trigger} cancel=${cancel(trigger)} sending=${cancelling} />`)}
    </ul>`}
    <${Outcome} sending=${cancelling} />
    <${SetTrigger} account=${account} />
  <//>`;
}

function Trigger({ account, trigger, cancel, sending }) {
  const { side, symbol } = trigger;
  const price = trigger.price === null ? null : centsOf(trigger.price);
  const quote = account.quotes.get(symbol);
  const when = price === null ? "no price set yet" : `${side === "buy" ? "at or below" : "at or above"} ${shown(price)}`;
  return html`<li class="trigger">
    <span class=${`side ${side}`}>${side === "buy" ? "Buy" : "Sell"}</span>
    <span class="trigger-what">
      <strong>${symbol}</strong> for <b class="money">${shown(centsOf(trigger.amount))}</b>
      <span class="trigger-when">${when}${side === "sell" && trigger.shares > 0 && `, ${plural(trigger.shares, "share")} reserved`}</span>
    </span>
    <span class="trigger-far">
      ${price !== null && quote !== undefined && html`<span class="money">${distance(quote.cents, price)}</span> <span class="note">from ${shown(quote.cents)}</span>`}
    </span>
    <${Button} sending=${sending} kind="small" onClick=${cancel} label=${`Cancel the trigger to ${side} ${symbol}`}>Cancel<//>
  </li>`;
}

function SetTrigger({ account }) {
  const [side, setSide] = useState("buy");
  const [symbol, setSymbol] = useState("");
  const [amount, setAmount] = useState("");
  const [price, setPrice] = useState("");
  const sending = useSending();
  const set = () =>
    sending.submit(["set", side, symbol, amount, price], async (key, waiting) => {
      const wanted = readSymbol(symbol);
      const there = account.summary[`${side}_triggers`].some((trigger) => trigger.symbol === wanted);
      const part = (field, typed, what) => (typed.trim() === "" && there ? null : readCents(field, typed, what));
      const [cents, at] = [part("amount", amount, "An amount"), part("price", price, "A price")];
      if (cents === null && at === null) throw new Wrong("amount", "An amount, a price or both are needed.");
      if (cents !== null) {
        await account.command(`set-${side}-amount`, { symbol: wanted, amount: wireOf(cents) }, { key: key("amount"), waiting });
      }
      if (at !== null) await setPriceOf(account, side, wanted, at, { key: key("price"), waiting });
      setAmount("");
      setPrice("");
      return `Set: ${side} ${wanted}${at === null ? "" : ` ${side === "buy" ? "at or below" : "at or above"} ${shown(at)}`}.`;
    });
  return html`<${Form} onSubmit=${set} label="Set a trigger" class="form set-trigger">
    <h3>Set a trigger</h3>
    <${Choice} label="Side of the trigger" name="trigger-side" options=${[["buy", "Buy low"], ["sell", "Sell high"]]} value=${side} onChoose=${setSide} />
    <div class="row">
      <${Field} label="Symbol" name="symbol" value=${symbol} onInput=${setSymbol} sending=${sending} class="narrow" />
      <${Field} label="For amount" name="amount" value=${amount} onInput=${setAmount} sending=${sending} unit="$" mode="decimal" />
      <${Field} label=${side === "buy" ? "When price falls to" : "When price rises to"} name="price" value=${price} onInput=${setPrice} sending=${sending} unit="$" mode="decimal" />
    </div>
    <${Button} sending=${sending} kind="primary">Set trigger<//>
    <${Outcome} sending=${sending} fields=${["symbol", "amount", "price"]} />
  <//>`;
}

/** Set the price of a trigger; what is wrong with it belongs to the field of the price. */
async function setPriceOf(account, side, symbol, cents, options) {
  try {
    await account.command(`set-${side}-trigger`, { symbol, price: wireOf(cents) }, options);
  } catch (error) {
    if (error.code === "insufficient_shares") throw new Wrong("amount", `The amount is set, the price is not: ${error.detail}.`);
    if (error.code === "amount_below_price") throw new Wrong("price", `The amount is set, the price is not: ${error.detail}.`);
    throw error;
  }
}
