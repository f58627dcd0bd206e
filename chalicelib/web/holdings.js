// What the account has: cash, what is reserved of it, shares and what they are worth at the latest quote.

import { Button, useSending } from "./form.js";
import { Empty, html, Money, Panel, plural } from "./html.js";
import { centsOf } from "./money.js";
import { PriceAge } from "./prices.js";

const sum = (amounts) => amounts.reduce((total, amount) => total + amount, 0n);

/** What an account comes to: cents, or null where a price is missing; and its shares by symbol. */
export function worthOf(account) {
  const { cash, holdings, pending_buys: buys, pending_sells: sells, buy_triggers: bids, sell_triggers: offers } = account.summary;
  const reserved = sum([...buys.map((order) => centsOf(order.cost)), ...bids.map((trigger) => centsOf(trigger.amount))]);
  const lines = new Map();
  const line = (symbol) => lines.get(symbol) ?? lines.set(symbol, { symbol, free: 0n, reserved: 0n }).get(symbol);
  for (const [symbol, shares] of Object.entries(holdings)) line(symbol).free += BigInt(shares);
  for (const { symbol, shares } of [...sells, ...offers]) if (shares > 0) line(symbol).reserved += BigInt(shares);
  const shares = [...lines.values()].sort((one, other) => (one.symbol < other.symbol ? -1 : 1));
  for (const item of shares) {
    const quote = account.quotes.get(item.symbol);
    item.quote = quote;
    item.worth = quote === undefined ? null : (item.free + item.reserved) * quote.cents;
  }
  const held = shares.some((item) => item.worth === null) ? null : sum(shares.map((item) => item.worth));
  const free = centsOf(cash);
  return { cash: free, reserved, shares, held, total: held === null ? null : free + reserved + held };
}

export function Glance({ account }) {
  const { cash, reserved, held, total } = worthOf(account);
  const figures = [["Cash", cash], ["Reserved cash", reserved], ["Shares", held], ["Total worth", total]];
  return html`<dl class="glance" aria-label="The account at a glance">
    ${figures.map(([name, cents]) => html`<div key=${name}><dt>${name}</dt><dd><${Money} cents=${cents} /></dd></div>`)}
  </dl>`;
}

export function Holdings({ account, choose }) {
  const refreshing = useSending();
  const { shares } = worthOf(account);
  const refresh = () => refreshing.submit("refresh", async () => account.refresh());
  const tools = html`<${Button} sending=${refreshing} kind="small quiet" onClick=${refresh}>Refresh<//>`;
  return html`<${Panel} id="holdings" title="Holdings" tools=${tools}>
    ${shares.length === 0
      ? html`<${Empty}>No shares yet.<//>`
      : html`<table>
          <thead>
            <tr><th scope="col">Symbol</th><th scope="col" class="number">Shares</th><th scope="col" class="number">Price</th><th scope="col" class="number">Worth</th></tr>
          </thead>
          <tbody>
            ${shares.map(
              (item) => html`<tr key=${item.symbol}>
                <th scope="row"><button type="button" class="symbol" onClick=${() => choose(item.symbol)} aria-label=${`Trade ${item.symbol}`}>${item.symbol}</button></th>
                <td class="number">${String(item.free + item.reserved)}${item.reserved > 0n && html`<span class="under">${plural(Number(item.reserved), "share")} reserved</span>`}</td>
                <td class="number"><${Money} cents=${item.quote?.cents} />${item.quote && html`<span class="under"><${PriceAge} quote=${item.quote} /></span>`}</td>
                <td class="number"><${Money} cents=${item.worth} /></td>
              </tr>`,
            )}
          </tbody>
        </table>`}
  <//>`;
}
