// Pending orders: each with what is left of its 60 s. Only the newest of a side can be settled: last in, first out.

import { useChanging } from "./changes.js";
import { clock, minutesAndSeconds } from "./clock.js";
import { useRef } from "./hooks.js";
import { Button, Outcome, useSending } from "./form.js";
import { Empty, html, Panel, plural } from "./html.js";
import { centsOf, shown } from "./money.js";

const LIFETIME_MS = 60_000;
const DOUBLE_CLICK_MS = 600; // the button of the next order comes to where the one before it was

export function Orders({ account }) {
  useChanging(clock);
  const { pending_buys: buys, pending_sells: sells } = account.summary;
  return html`<${Panel} id="orders" title="Pending orders" note="commit within 60 s, newest first">
    ${buys.length + sells.length === 0 && html`<${Empty}>Nothing is pending. A buy or sell waits here until you commit it.<//>`}
    <${Stack} account=${account} side="buy" orders=${buys} />
    <${Stack} account=${account} side="sell" orders=${sells} />
  <//>`;
}

function Stack({ account, side, orders }) {
  const sending = useSending();
  const place = useRef(null);
  const settled = useRef({ at: -Infinity, below: [] });
  const settle = (how) => async () => {
    const ends = orders.map((order) => order.expires_at);
    const newest = orders.at(-1);
    const { at, below } = settled.current;
    if (performance.now() - at < DOUBLE_CLICK_MS && below.includes(newest.expires_at)) return;
    settled.current = { at: performance.now(), below: ends.slice(0, -1) };
    await sending.submit([how, side, newest.expires_at], async (key, waiting) => {
      const answer = await account.command(`${how}-${side}`, {}, { key: key(), waiting });
      const order = `${plural(answer.shares, "share")} of ${answer.symbol} for ${shown(centsOf(answer.cost ?? answer.proceeds))}`;
      if (how === "cancel") return `Cancelled: ${side} ${order}.`;
      return `${side === "buy" ? "Bought" : "Sold"}: ${order}.`;
    });
    if (document.activeElement === document.body) place.current?.focus();
  };
  return html`<div class="stack" tabindex="-1" ref=${place} role="group" aria-label=${`Pending ${side}s`}>
    ${orders.length > 0 &&
    html`<ul class="orders">
      ${orders.toReversed().map((order, index) => html`<${Order} key=${orders.length - index} side=${side} order=${order} newest=${index === 0} settle=${settle} sending=${sending} />`)}
    </ul>`}
    <${Outcome} sending=${sending} />
  </div>`;
}

function Order({ side, order, newest, settle, sending }) {
  const left = Math.max(0, order.expires_at - clock.now());
  const name = `${side} of ${plural(order.shares, "share")} of ${order.symbol}`;
  return html`<li class=${`order ${newest ? "" : "is-below"}`}>
    <span class=${`side ${side}`}>${side === "buy" ? "Buy" : "Sell"}</span>
    <span class="order-what">
      <strong>${order.symbol}</strong> ${order.shares} × ${shown(centsOf(order.price))} <b class="money">${shown(centsOf(order.cost ?? order.proceeds))}</b>
    </span>
    <span class=${`left ${left < 10_000 ? "is-short" : ""}`} role="timer" aria-label=${`Time left for the ${name}`}>
      ${left === 0 ? "expired" : minutesAndSeconds(left)}
    </span>
    <span class="bar" aria-hidden="true"><span style=${{ width: `${Math.min(100, (left / LIFETIME_MS) * 100)}%` }}></span></span>
    ${newest
      ? html`<span class="order-tools">
          <${Button} sending=${sending} kind="small primary" onClick=${settle("commit")} label=${`Commit the ${name}`}>Commit<//>
          <${Button} sending=${sending} kind="small" onClick=${settle("cancel")} label=${`Cancel the ${name}`}>Cancel<//>
        </span>`
      : html`<span class="order-tools note">after the newer ${side}</span>`}
  </li>`;
}
