// Triggers: the orders that wait for a price, how far away it is, and the form that sets them.

import { throwFault } from "./api.js";
import { Button, Choice, Field, Form, Outcome, Sure, useSending, Wrong } from "./form.js";
import { useEffect, useState } from "./hooks.js";
import { Empty, html, ListTools, Panel, plural, useList } from "./html.js";
import { centsOf, distance, readAmount, shown, wireOf } from "./money.js";
import { readCents, readSymbol, symbolIn, UNUSUAL_CENTS } from "./ticket.js";

const sideWords = { buy: "at or below", sell: "at or above" };

export function Triggers({ account }) {
  const { buy_triggers: buys, sell_triggers: sells } = account.view;
  const all = [...buys.map((trigger) => ({ ...trigger, side: "buy" })), ...sells.map((trigger) => ({ ...trigger, side: "sell" }))];
  const sorts = { "Nearest first": (one, other) => farOf(account, one) - farOf(account, other) };
  const list = useList(all, { text: (trigger) => trigger.symbol, sorts });
  const cancelling = useSending();
  const cancel = (trigger) => () =>
    cancelling.submit(["cancel", trigger], async ({ key, waiting }) => {
      await account.command(`cancel-set-${trigger.side}`, { symbol: trigger.symbol }, { key: key(), waiting });
      return `Cancelled: the trigger to ${trigger.side} ${trigger.symbol}.`;
    });
  return html`<${Panel} id="triggers" title="Triggers" count=${all.length} note="run by themselves when the price is reached">
    <${ListTools} list=${list} name="triggers" />
    ${all.length === 0 && html`<${Empty}>No trigger waits.<//>`}
    ${list.items.length > 0 &&
    html`<ul class="triggers">
      ${list.items.map((trigger) => html`<${Trigger} key=${`${trigger.side} ${trigger.symbol}`} account=${account} trigger=${trigger} cancel=${cancel(trigger)} sending=${cancelling} />`)}
    </ul>`}
    <${Outcome} sending=${cancelling} />
    <${SetTrigger} account=${account} />
  <//>`;
}

/** How far the price of a trigger is from the current one, as a share of it; for sorting only. */
function farOf(account, { symbol, price }) {
  const quote = account.prices.get(symbol);
  return price === null || quote === undefined ? Infinity : Math.abs(Number(centsOf(price) - quote.cents)) / Number(quote.cents);
}

function Trigger({ account, trigger, cancel, sending }) {
  const { side, symbol } = trigger;
  const price = trigger.price === null ? null : centsOf(trigger.price);
  const quote = account.prices.get(symbol);
  const when = price === null ? "no price set yet" : `${sideWords[side]} ${shown(price)}`;
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

/** What is unusual about a trigger at the current price, in words; null for nothing. */
export function unusual(side, at, quote, amount) {
  if (at !== null && quote !== undefined) {
    const now = shown(quote.cents);
    if (side === "buy" ? quote.cents <= at : quote.cents >= at) return `It would fire at once: the price is ${now}.`;
    if (at * 2n < quote.cents || at > quote.cents * 2n) return `${shown(at)} is far from today's price, ${now} (${distance(quote.cents, at)}).`;
  }
  return amount !== null && amount >= UNUSUAL_CENTS ? `${shown(amount)} is a lot.` : null;
}

function SetTrigger({ account }) {
  const [side, setSide] = useState("buy");
  const [symbol, setSymbol] = useState("");
  const [amount, setAmount] = useState("");
  const [price, setPrice] = useState("");
  const sending = useSending();
  const known = symbolIn(symbol);
  useEffect(() => account.watchPrice("trigger", known), [known]);
  const typed = (set) => (value) => {
    sending.withdraw();
    set(value);
  };
  const existing = account.view[`${side}_triggers`].find((trigger) => trigger.symbol === known);
  const set = () =>
    sending.submit(["set", side, symbol, amount, price], async ({ key, waiting, sure }) => {
      const wanted = readSymbol(symbol);
      const part = (field, text, what) => (text.trim() === "" && existing ? null : readCents(field, text, what));
      const [cents, at] = [part("amount", amount, "An amount"), part("price", price, "A price")];
      if (cents === null && at === null) throw new Wrong("amount", "Enter an amount, a price or both.");
      const quote = at === null ? undefined : await todaysPrice(account, wanted);
      const why = unusual(side, at, quote, cents);
      sure(why === null ? null : `${why} Set it all the same?`);
      if (cents !== null) {
        await account.command(`set-${side}-amount`, { symbol: wanted, amount: wireOf(cents) }, { key: key("amount"), waiting });
      }
      if (at !== null) await setPriceOf(account, side, wanted, at, cents !== null, { key: key("price"), waiting });
      setAmount("");
      setPrice("");
      return `Set: ${side} ${wanted}${at === null ? "" : ` ${sideWords[side]} ${shown(at)}`}.`;
    });
  return html`<${Form} onSubmit=${set} label="Set a trigger" class="form set-trigger">
    <h3>Set a trigger</h3>
    <${Choice} label="Side of the trigger" name="trigger-side" options=${[["buy", "Buy low"], ["sell", "Sell high"]]} value=${side} onChoose=${typed(setSide)} />
    <div class="row">
      <${Field} label="Symbol" name="symbol" value=${symbol} onInput=${typed(setSymbol)} sending=${sending} class="narrow" />
      <${Field} label="For amount" name="amount" value=${amount} onInput=${typed(setAmount)} sending=${sending} unit="$" mode="decimal" />
      <${Field} label=${side === "buy" ? "When price falls to" : "When price rises to"} name="price" value=${price} onInput=${typed(setPrice)} sending=${sending} unit="$" mode="decimal" />
    </div>
    <${TriggerPreview} account=${account} side=${side} symbol=${known} amount=${amount} price=${price} existing=${existing} />
    ${sending.asks === null && html`<${Button} sending=${sending} kind="primary">Set trigger<//>`}
    <${Sure} sending=${sending} yes="Yes, set it" />
    <${Outcome} sending=${sending} fields=${["symbol", "amount", "price"]} />
  <//>`;
}

/** The current price; undefined if there is none: then a trigger can still be set, without a warning. */
async function todaysPrice(account, symbol) {
  try {
    return account.current(symbol) ?? (await account.price(symbol, { patienceMs: 0 }));
  } catch (error) {
    throwFault(error);
    return account.prices.get(symbol);
  }
}

function TriggerPreview({ account, side, symbol, amount, price, existing }) {
  const quote = account.prices.get(symbol);
  const cents = readAmount(amount).cents ?? (existing && centsOf(existing.amount));
  const at = readAmount(price).cents ?? (existing?.price ? centsOf(existing.price) : undefined);
  if (symbol === "" || cents === undefined || at === undefined || (amount.trim() === "" && price.trim() === "")) return null;
  const shares = cents / at;
  const why = unusual(side, at, quote, cents);
  const lines = [
    ["At its price", shares === 0n ? "less than one share" : `${plural(shares, "share")} for ${shown(shares * at)}`],
    ["Today's price", quote === undefined ? "not known" : `${shown(quote.cents)}, ${distance(quote.cents, at)} to go`],
    side === "buy" ? ["Reserved at once", shown(cents)] : ["Shares reserved", String(shares)],
  ];
  return html`<dl class="preview" aria-label="Preview of the trigger">
      ${lines.map(([name, text]) => html`<div key=${name}><dt>${name}</dt><dd>${text}</dd></div>`)}
    </dl>
    ${why !== null && html`<p class="notice">${why}</p>`}`;
}

/** Set the price of a trigger; its errors belong to the price field. */
async function setPriceOf(account, side, symbol, cents, amountIsSet, options) {
  try {
    await account.command(`set-${side}-trigger`, { symbol, price: wireOf(cents) }, options);
  } catch (error) {
    const before = amountIsSet ? "The amount is set, the price is not" : "The price is not set";
    if (error.code === "insufficient_shares") throw new Wrong("amount", `${before}: ${error.detail}.`);
    if (error.code === "amount_below_price") throw new Wrong("price", `${before}: ${error.detail}.`);
    throw error;
  }
}
