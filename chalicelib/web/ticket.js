// The order ticket: a quote, then buy or sell, with shares and cost shown before anything is sent.

import { useState } from "./hooks.js";
import { Button, Choice, Field, Form, Outcome, useSending, Wrong } from "./form.js";
import { html, Panel, plural } from "./html.js";
import { centsOf, readAmount, shown, wireOf } from "./money.js";
import { Quote } from "./prices.js";

const SYMBOL = /^[A-Za-z]{1,3}$/;

/** What a person typed as a symbol, in upper case; throws Wrong. */
export function readSymbol(typed) {
  const symbol = typed.trim();
  if (symbol === "") throw new Wrong("symbol", "A symbol is needed, such as ABC.");
  if (!SYMBOL.test(symbol)) throw new Wrong("symbol", "A symbol is 1 to 3 letters, such as ABC.");
  return symbol.toUpperCase();
}

/** What a person typed as an amount, in cents; throws Wrong. */
export function readCents(field, typed, what) {
  const { cents, wrong } = readAmount(typed, what);
  if (wrong !== undefined) throw new Wrong(field, wrong);
  return cents;
}

export function Ticket({ account, symbol, choose }) {
  const [side, setSide] = useState("buy");
  const [amount, setAmount] = useState("");
  const quoting = useSending();
  const sending = useSending();
  const known = symbol.trim().toUpperCase();

  const getQuote = () =>
    quoting.submit(["quote", known], async (_key, waiting) => {
      const wanted = readSymbol(symbol);
      const quote = account.justGot(wanted) ?? (await account.quote(wanted, waiting));
      return `${quote.symbol} is at ${shown(quote.cents)}${quote.cached ? ", from the cache." : ", fresh."}`;
    });

  const symbolEntered = () => {
    if (SYMBOL.test(known) && account.usable(known) === undefined) getQuote();
  };

  const send = () =>
    sending.submit([side, known, amount], async (key, waiting) => {
      const wanted = readSymbol(symbol);
      const cents = readCents("amount", amount, "An amount");
      if (account.usable(wanted) === undefined) {
        await account.quote(wanted, waiting);
        return `The price is new. Check what it comes to, and press ${side === "buy" ? "Buy" : "Sell"} again.`;
      }
      const body = { symbol: wanted, amount: wireOf(cents) };
      const answer = await account.command(side, body, { key: key(), waiting });
      setAmount("");
      const money = shown(centsOf(side === "buy" ? answer.cost : answer.proceeds));
      const order = `${plural(answer.shares, "share")} of ${answer.symbol} at ${shown(centsOf(answer.price))} for ${money}`;
      return `Pending: ${side} ${order}. Commit it within 60 seconds.`;
    });

  const wrong = sending.wrong ?? quoting.wrong;
  return html`<${Panel} id="trade" title="Trade">
    <${Form} onSubmit=${send} label="Trade">
      <${Choice} label="Side" name="side" options=${[["buy", "Buy"], ["sell", "Sell"]]} value=${side} onChoose=${setSide} />
      <div class="row">
        <${Field} label="Symbol" name="symbol" value=${symbol} onInput=${choose} onChange=${symbolEntered} sending=${{ wrong }} class="narrow" />
        <${Field} label="Amount" name="amount" value=${amount} onInput=${setAmount} sending=${sending} unit="$" mode="decimal" />
        <${Button} sending=${quoting} onClick=${getQuote}>Get quote<//>
      </div>
      ${SYMBOL.test(known) && html`<${Quote} account=${account} symbol=${known} />`}
      <${Preview} account=${account} side=${side} symbol=${known} amount=${amount} />
      <${Button} sending=${sending} kind=${`primary ${side}`}>${side === "buy" ? "Buy" : "Sell"} ${SYMBOL.test(known) ? known : ""}<//>
    <//>
    <${Outcome} sending=${quoting} fields=${["symbol"]} quiet=${true} />
    <${Outcome} sending=${sending} fields=${["symbol", "amount"]} />
  <//>`;
}

function Preview({ account, side, symbol, amount }) {
  const quote = account.usable(symbol);
  const { cents } = readAmount(amount);
  if (quote === undefined || cents === undefined) {
    return html`<p class="preview muted">Enter a symbol and an amount: shares and ${side === "buy" ? "cost" : "proceeds"} are shown here before anything is sent.</p>`;
  }
  const shares = cents / quote.cents;
  const value = shares * quote.cents;
  if (shares === 0n) {
    return html`<p class="preview">Less than one share: ${symbol} is at ${shown(quote.cents)}.</p>`;
  }
  const cash = account.summary === null ? null : centsOf(account.summary.cash);
  const held = BigInt(account.summary?.holdings[symbol] ?? 0);
  const lines =
    side === "buy"
      ? [["Shares", `${shares} at ${shown(quote.cents)}`], ["Cost", shown(value)], ["Cash afterwards", cash === null ? "—" : cash < value ? "not enough" : shown(cash - value)]]
      : [["Shares", `${shares} at ${shown(quote.cents)}`], ["Proceeds", shown(value)], ["Shares afterwards", held < shares ? `not enough: you have ${held}` : String(held - shares)]];
  return html`<dl class="preview" aria-label="What it comes to">
    ${lines.map(([name, text]) => html`<div key=${name}><dt>${name}</dt><dd>${text}</dd></div>`)}
  </dl>`;
}
