// Pending orders, each with the rest of its 60 s. Only the newest of a side can be settled: last in, first out.

import { clock, minutesAndSeconds, useChanging } from "./changes.js";
import { Button, Outcome, useSending, Wrong } from "./form.js";
import { useEffect, useRef } from "./hooks.js";
import { Empty, html, ListTools, Panel, plural, useList } from "./html.js";
import { centsOf, shown } from "./money.js";

const LIFETIME_MS = 60_000;
const WARNED_MS = 15_000;
const DOUBLE_CLICK_MS = 600; // the button of the next order moves to where the last one was

const nameOf = (order, side) => `${side} of ${plural(order.shares, "share")} of ${order.symbol}`;
const valueOf = (order) => shown(centsOf(order.cost ?? order.proceeds));

export function Orders({ account }) {
  const { pending_buys: buys, pending_sells: sells } = account.view;
  const count = buys.length + sells.length;
  return html`<${Panel} id="orders" title="Pending orders" count=${count} note="commit within 60 s, newest first">
    ${count === 0 && html`<${Empty}>Nothing is pending. A buy or sell waits here until you commit it.<//>`}
    <${Warning} account=${account} />
    <${Stack} account=${account} side="buy" orders=${buys} />
    <${Stack} account=${account} side="sell" orders=${sells} />
  <//>`;
}

/** Warns 15 s before an order expires; read out once for each order. */
function Warning({ account }) {
  useChanging(clock);
  const { pending_buys: buys, pending_sells: sells } = account.view;
  const short = [...buys.map((order) => [order, "buy"]), ...sells.map((order) => [order, "sell"])].filter(([order]) => {
    const left = order.expires_at - clock.now();
    return left > 0 && left <= WARNED_MS;
  });
  const words = short.map(([order, side]) => html`<span key=${order.order}>The ${nameOf(order, side)} runs out within 15 seconds. </span>`);
  return html`<p role="status" class="warning">${words}</p>`;
}

function Stack({ account, side, orders }) {
  const sending = useSending();
  const settled = useRef({ at: -Infinity, below: [] });
  const list = useList(orders.toReversed(), { text: (order) => order.symbol, sorts: {}, limit: 8 });
  const settle = (how, order) => async () => {
    const { at, below, done } = settled.current;
    if (done === order.order && done !== null) return; // it is shown until the account is read
    if (performance.now() - at < DOUBLE_CLICK_MS && below.includes(order.order)) return;
    settled.current = { at: performance.now(), below: orders.map((one) => one.order).filter((number) => number !== order.order) };
    const was = await sending.submit([how, side, order.order], async ({ key, waiting }) => {
      try {
        const body = order.order === null ? {} : { order: order.order };
        const answer = await account.command(`${how}-${side}`, body, { key: key(), waiting });
        const what = `${plural(answer.shares, "share")} of ${answer.symbol} for ${valueOf(answer)}`;
        if (how === "cancel") return `Cancelled: ${side} ${what}.`;
        return `${side === "buy" ? "Bought" : "Sold"}: ${what}.`;
      } catch (error) {
        if (error.code !== "order_changed") throw error;
        await account.refresh();
        throw new Wrong(null, changedInWords(account, side, order, how));
      }
    });
    if (was) settled.current.done = order.order;
  };
  const newest = orders.at(-1);
  return html`<div class="stack" role="group" aria-label=${`Pending ${side}s`}>
    <${ListTools} list=${list} name=${`pending ${side}s`} />
    ${list.items.length > 0 &&
    html`<ul class="orders">
      ${list.items.map((order) => html`<${Order} key=${order.order ?? order.expires_at} side=${side} order=${order} newest=${order === newest} settle=${settle} sending=${sending} />`)}
    </ul>`}
    <${Outcome} sending=${sending} />
  </div>`;
}

/** What to say when the chosen order is no longer the newest. */
function changedInWords(account, side, order, how) {
  const orders = account.view[`pending_${side}s`];
  const there = orders.some((other) => other.order === order.order);
  const newest = orders.at(-1);
  const meant = `The ${nameOf(order, side)}`;
  if (newest === undefined || newest.order === order.order) return `Nothing was changed: ${meant} is not what was newest. Look at the list and press again.`;
  const rest = there ? "is still pending below it" : "is not pending any more";
  return `Nothing was changed: a newer ${side} came first, ${plural(newest.shares, "share")} of ${newest.symbol} for ${valueOf(newest)}. ${meant} ${rest}. Do you want to ${how} the newer one? Its buttons are above.`;
}

function Order({ side, order, newest, settle, sending }) {
  useChanging(clock);
  const bar = useRef(null);
  const left = Math.max(0, order.expires_at - clock.now());
  useEffect(() => {
    bar.current.style.animationDelay = `${Math.min(0, order.expires_at - clock.now() - LIFETIME_MS)}ms`;
  }, [order.expires_at]);
  const name = nameOf(order, side);
  return html`<li class=${`order ${newest ? "" : "is-below"}`}>
    <span class=${`side ${side}`}>${side === "buy" ? "Buy" : "Sell"}</span>
    <span class="order-what">
      <strong>${order.symbol}</strong> ${order.shares} × ${shown(centsOf(order.price))} <b class="money">${valueOf(order)}</b>
    </span>
    <span class=${`left ${left <= WARNED_MS ? "is-short" : ""}`} role="timer" aria-label=${`Time left for the ${name}`}>
      ${left === 0 ? "expired" : minutesAndSeconds(left)}
    </span>
    <span class="bar" aria-hidden="true"><span ref=${bar}></span></span>
    ${newest
      ? html`<span class="order-tools">
          <${Button} sending=${sending} kind="small primary" onClick=${settle("commit", order)} label=${`Commit the ${name}`}>Commit<//>
          <${Button} sending=${sending} kind="small" onClick=${settle("cancel", order)} label=${`Cancel the ${name}`}>Cancel<//>
        </span>`
      : html`<span class="order-tools note">after the newer ${side}</span>`}
  </li>`;
}
