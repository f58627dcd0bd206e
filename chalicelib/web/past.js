// Past commands, with what came of them.

import { useState } from "./hooks.js";
import { timeOfDay } from "./clock.js";
import { Empty, html, Panel } from "./html.js";
import { centsOf, shown } from "./money.js";

const FIRST = 12;
const NAMES = {
  ADD: "Add cash",
  QUOTE: "Quote",
  BUY: "Buy",
  COMMIT_BUY: "Commit buy",
  CANCEL_BUY: "Cancel buy",
  SELL: "Sell",
  COMMIT_SELL: "Commit sell",
  CANCEL_SELL: "Cancel sell",
  SET_BUY_AMOUNT: "Buy trigger: amount",
  SET_BUY_TRIGGER: "Buy trigger: price",
  CANCEL_SET_BUY: "Cancel buy trigger",
  SET_SELL_AMOUNT: "Sell trigger: amount",
  SET_SELL_TRIGGER: "Sell trigger: price",
  CANCEL_SET_SELL: "Cancel sell trigger",
  DUMPLOG: "Dump log",
  DISPLAY_SUMMARY: "Summary",
};

export const nameOf = (command) => NAMES[command] ?? command;
const outcomeOf = (code) => (code === "ok" ? "done" : code.replaceAll("_", " "));

export function Past({ account }) {
  const [all, setAll] = useState(false);
  const { past } = account.seen;
  const tools =
    past.length > FIRST &&
    html`<button type="button" class="button small quiet" aria-expanded=${all} onClick=${() => setAll(!all)}>${all ? "Fewer" : `All ${past.length}`}</button>`;
  return html`<${Panel} id="history" title="History" tools=${tools}>
    ${past.length === 0
      ? html`<${Empty}>No command yet.<//>`
      : html`<table class="past">
          <thead>
            <tr><th scope="col">Time</th><th scope="col">Command</th><th scope="col" class="number">Amount</th><th scope="col">Outcome</th></tr>
          </thead>
          <tbody>
            ${(all ? past : past.slice(0, FIRST)).map(
              (entry) => html`<tr key=${entry.transaction}>
                <td class="time">${timeOfDay(entry.timestamp)}</td>
                <td>${nameOf(entry.command)} ${entry.symbol && html`<strong>${entry.symbol}</strong>`}</td>
                <td class="number">${entry.amount === null ? "" : shown(centsOf(entry.amount))}</td>
                <td><span class=${entry.outcome === "ok" ? "ok" : "not-ok"}>${outcomeOf(entry.outcome)}</span></td>
              </tr>`,
            )}
          </tbody>
        </table>`}
  <//>`;
}
