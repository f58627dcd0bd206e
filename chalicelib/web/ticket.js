// Moving money: the order ticket (a symbol's price, then buy or sell, with shares and cost shown before it is sent),
// and adding cash.

import { Button, Choice, Field, Form, Outcome, Sure, useSending, Wrong } from "./form.js";
import { useEffect, useState } from "./hooks.js";
import { html, Panel, plural } from "./html.js";
import { centsOf, readAmount, readShares, shown, wireOf } from "./money.js";
import { Quote } from "./prices.js";

const SYMBOL = /^[A-Za-z]{1,3}$/;

/** The user must confirm amounts from here on. */
export const UNUSUAL_CENTS = 10_000_000n;

/** What a user typed as a symbol, in upper case; throws Wrong. */
export function readSymbol(typed) {
  const symbol = typed.trim();
  if (symbol === "") throw new Wrong("symbol", "Enter a symbol, such as ABC.");
  if (!SYMBOL.test(symbol)) throw new Wrong("symbol", "A symbol is 1 to 3 letters, such as ABC.");
  return symbol.toUpperCase();
}

/** What a user typed as a symbol, in upper case; "" for none. */
export const symbolIn = (typed) => (SYMBOL.test(typed.trim()) ? typed.trim().toUpperCase() : "");

/** What a user typed as an amount, in cents; throws Wrong. */
export function readCents(field, typed, what) {
  const { cents, wrong } = readAmount(typed, what);
  if (wrong !== undefined) throw new Wrong(field, wrong);
  return cents;
}

/** What an amount buys at a price: shares and their value, or what is wrong with it. */
function reckon(unit, typed, price) {
  if (unit === "dollars") {
    const { cents, wrong } = readAmount(typed);
    return wrong === undefined ? { shares: cents / price.cents, value: (cents / price.cents) * price.cents, cents } : { wrong };
  }
  const { shares, wrong } = readShares(typed);
  return wrong === undefined ? { shares, value: shares * price.cents, cents: shares * price.cents } : { wrong };
}

/** `order` was begun elsewhere on the page: `{symbol, side, all}`; `change` changes parts of it. */
export function Ticket({ account, order, change }) {
  const { symbol, side } = order;
  const [unit, setUnit] = useState("dollars");
  const [amount, setAmount] = useState("");
  const quoting = useSending({ canGiveUp: true });
  const sending = useSending();
  const known = symbolIn(symbol);
  const price = account.prices.get(known);
  const held = BigInt(account.view.holdings[known] ?? 0);

  useEffect(() => account.watchPrice("ticket", known), [known]);
  useEffect(() => {
    if (order.all > 0) takeAll();
  }, [order.all]);

  const typed = (set) => (value) => {
    sending.withdraw();
    set(value);
  };

  const getQuote = () =>
    quoting.submit(["quote", known], async ({ waiting, signal }) => {
      const quote = await account.quote(readSymbol(symbol), { waiting, signal });
      return `${quote.symbol} is at ${shown(quote.cents)}.`;
    });

  /** All shares held, or all that the cash buys. */
  function takeAll() {
    if (side === "sell") {
      setUnit("shares");
      setAmount(String(account.view.holdings[known] ?? 0));
    } else {
      setUnit("dollars");
      setAmount(account.view.cash);
    }
  }

  const send = () =>
    sending.submit([side, known, unit, amount], async ({ key, waiting, sure }) => {
      const wanted = readSymbol(symbol);
      if (amount.trim() === "") throw new Wrong("amount", unit === "shares" ? "Enter a number of shares." : "Enter an amount.");
      const now = account.current(wanted) ?? (await account.price(wanted, { waiting }));
      const { cents, wrong, shares, value } = reckon(unit, amount, now);
      if (wrong !== undefined) throw new Wrong("amount", wrong);
      if (readAmount(wireOf(cents)).wrong !== undefined) throw new Wrong("amount", readAmount(wireOf(cents)).wrong);
      const seen = price !== undefined && price.cents === now.cents;
      if (!seen) return `The price has changed. Check the preview, and press ${side === "buy" ? "Buy" : "Sell"} again.`;
      sure(value >= UNUSUAL_CENTS ? `${side === "buy" ? "Buy" : "Sell"} ${plural(shares, "share")} of ${wanted} for ${shown(value)}: that is a lot. Is that right?` : null);
      const answer = await account.command(side, { symbol: wanted, amount: wireOf(cents) }, { key: key(), waiting });
      setAmount("");
      await account.refresh();
      document.getElementById("orders").scrollIntoView({ block: "nearest" });
      const money = shown(centsOf(side === "buy" ? answer.cost : answer.proceeds));
      const done = `${plural(answer.shares, "share")} of ${answer.symbol} at ${shown(centsOf(answer.price))} for ${money}`;
      const other = unit === "shares" && BigInt(answer.shares) !== shares ? ` The price moved: that is not ${plural(shares, "share")}.` : "";
      return `Pending: ${side} ${done}.${other} Commit it within 60 seconds.`;
    });

  const name = side === "buy" ? "Buy" : "Sell";
  return html`<${Panel} id="trade" title="Trade">
    <${Form} onSubmit=${send} label="Trade">
      <${Choice} label="Side" name="side" options=${[["buy", "Buy"], ["sell", "Sell"]]} value=${side} onChoose=${typed((value) => change({ side: value }))} />
      <div class="row">
        <${Field} label="Symbol" name="symbol" value=${symbol} onInput=${typed((value) => change({ symbol: value }))} sending=${{ wrong: sending.wrong ?? quoting.wrong }} class="narrow" />
        <${Button} sending=${quoting} onClick=${getQuote}>Get quote<//>
      </div>
      <${Outcome} sending=${quoting} fields=${["symbol"]} quiet=${true} />
      ${known !== "" && html`<${Quote} account=${account} symbol=${known} />`}
      <${Choice} label="Unit" name="unit" options=${[["dollars", "Dollars"], ["shares", "Shares"]]} value=${unit} onChoose=${typed(setUnit)} />
      <div class="row">
        <${Field} label=${unit === "dollars" ? "Amount" : "Number of shares"} name="amount" value=${amount} onInput=${typed(setAmount)} sending=${sending} unit=${unit === "dollars" ? "$" : ""} mode="decimal" />
        <${Button} onClick=${takeAll} label=${side === "sell" ? `All ${known} shares` : "All cash"}>All<//>
      </div>
      <${Preview} account=${account} side=${side} symbol=${known} price=${price} reckoned=${price === undefined || amount.trim() === "" ? {} : reckon(unit, amount, price)} held=${held} />
      ${sending.asks === null && html`<${Button} sending=${sending} kind=${`primary ${side}`}>${name} ${known}<//>`}
      <${Sure} sending=${sending} yes=${`Yes, ${side}`} />
    <//>
    <${Outcome} sending=${sending} fields=${["symbol", "amount"]} />
  <//>`;
}

function Preview({ account, side, symbol, price, reckoned, held }) {
  const { shares, value } = reckoned;
  if (shares === undefined) {
    return html`<p class="preview muted">Enter a symbol and an amount: shares and ${side === "buy" ? "cost" : "proceeds"} are shown here before anything is sent.</p>`;
  }
  if (shares === 0n) {
    return html`<p class="preview">Less than one share: ${symbol} is at ${shown(price.cents)}.</p>`;
  }
  const cash = centsOf(account.view.cash);
  const lines =
    side === "buy"
      ? [["Cost", shown(value)], ["Cash afterwards", cash < value ? `not enough: you have ${shown(cash)}` : shown(cash - value)]]
      : [["Proceeds", shown(value)], ["Shares afterwards", held < shares ? `not enough: you have ${held}` : String(held - shares)]];
  return html`<dl class="preview" aria-label="Preview">
    ${[["Shares", `${shares} at ${shown(price.cents)}`], ...lines].map(([name, text]) => html`<div key=${name}><dt>${name}</dt><dd>${text}</dd></div>`)}
  </dl>`;
}

/** Adding cash to the account. */
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
