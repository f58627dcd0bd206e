// The holdings: cash, how much of it is reserved, and positions with their cost, value and gain.

import { Button, useSending } from "./form.js";
import { Empty, html, ListTools, Money, Panel, plural, useList } from "./html.js";
import { centsOf, gainShare } from "./money.js";
import { PriceAge } from "./prices.js";

const sum = (amounts) => (amounts.some((amount) => amount === null) ? null : amounts.reduce((total, amount) => total + amount, 0n));

/** The positions by symbol; `worth`, `cost` and `gain` in cents, null where they are not known. */
export function positionsOf(account) {
  return Object.entries(account.view.positions).map(([symbol, { shares, reserved, cost: known }]) => {
    const price = account.prices.get(symbol);
    const worth = price === undefined ? null : BigInt(shares) * price.cents;
    const cost = known === null ? null : centsOf(known);
    return { symbol, shares, reserved, price, worth, cost, gain: worth === null || cost === null ? null : worth - cost };
  });
}

export function Glance({ account }) {
  const { cash, reserved_cash: reserved, realised } = account.view;
  const positions = positionsOf(account);
  const held = sum(positions.map((item) => item.worth));
  const total = held === null ? null : centsOf(cash) + centsOf(reserved) + held;
  const figures = [["Cash", centsOf(cash)], ["Reserved cash", centsOf(reserved)], ["Shares", held], ["Total worth", total]];
  const gains = [["Unrealised gain", sum(positions.map((item) => item.gain))], ["Realised gain", centsOfSigned(realised)]];
  return html`<dl class="glance" aria-label="The account at a glance">
    ${figures.map(([name, cents]) => html`<div key=${name}><dt>${name}</dt><dd><${Money} cents=${cents} /></dd></div>`)}
    ${gains.map(([name, cents]) => html`<div key=${name}><dt>${name}</dt><dd class=${gainClass(cents)}><${Money} cents=${cents} sign=${true} /></dd></div>`)}
  </dl>`;
}

const centsOfSigned = (text) => (text.startsWith("-") ? -centsOf(text.slice(1)) : centsOf(text));
const gainClass = (cents) => (cents === null || cents === 0n ? "" : cents > 0n ? "gain" : "loss");
const falling = (of) => (one, other) => ((of(other) ?? -1n) > (of(one) ?? -1n) ? 1 : -1);
const SORTS = { "By worth": falling((item) => item.worth), "By gain": falling((item) => item.gain) };

export function Holdings({ account, choose }) {
  const refreshing = useSending();
  const list = useList(positionsOf(account), { text: (item) => item.symbol, sorts: SORTS });
  const refresh = () => refreshing.submit("refresh", async () => void (await Promise.all([account.refresh(), account.refreshPrices()])));
  const tools = html`<${Button} sending=${refreshing} kind="small quiet" onClick=${refresh}>Refresh<//>`;
  return html`<${Panel} id="holdings" title="Holdings" tools=${tools} count=${list.count}>
    <${ListTools} list=${list} name="holdings" />
    ${list.count === 0
      ? html`<${Empty}>No shares yet.<//>`
      : html`<table class="wraps">
          <thead>
            <tr><th scope="col">Symbol</th><th scope="col" class="number">Shares</th><th scope="col" class="number">Price</th><th scope="col" class="number">Worth</th><th scope="col" class="number">Gain</th><td></td></tr>
          </thead>
          <tbody>
            ${list.items.map((item) => html`<${Position} key=${item.symbol} account=${account} item=${item} choose=${choose} />`)}
          </tbody>
        </table>`}
  <//>`;
}

function Position({ account, item, choose }) {
  const { symbol, shares, reserved, price, worth, cost, gain } = item;
  const sellable = shares - reserved;
  return html`<tr>
    <th scope="row"><button type="button" class="symbol" onClick=${() => choose({ symbol, side: "buy" })} aria-label=${`Trade ${symbol}`}>${symbol}</button></th>
    <td class="number">${shares}${reserved > 0 && html`<span class="under">${plural(reserved, "share")} reserved</span>`}</td>
    <td class="number"><${Money} cents=${price?.cents} />${price ? html`<span class="under"><${PriceAge} quote=${price} /></span>` : account.unavailable.has(symbol) && html`<span class="under">cannot be had now</span>`}</td>
    <td class="number"><${Money} cents=${worth} /><span class="under">cost <${Money} cents=${cost} /></span></td>
    <td class=${`number ${gainClass(gain)}`}><${Money} cents=${gain} sign=${true} />${gain !== null && html`<span class="under">${gainShare(cost, worth)}</span>`}</td>
    <td class="number">${sellable > 0 && html`<button type="button" class="button small" onClick=${() => choose({ symbol, side: "sell", all: true })} aria-label=${`Sell ${symbol}`}>Sell</button>`}</td>
  </tr>`;
}
