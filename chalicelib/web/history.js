// The history of the account, page by page from the server: trades, and why commands were rejected.

import { timeOfDay } from "./changes.js";
import { sentenceOf } from "./events.js";
import { Button, Choice, Outcome, useSending } from "./form.js";
import { useEffect, useState } from "./hooks.js";
import { Empty, html, Panel, save } from "./html.js";
import { centsOf, shown } from "./money.js";

const A_PAGE = 20;
const MOST_CSV_PAGES = 50;

/** Commands whose name in words is not their own name, as "Commit buy" is. */
const NAMES = {
  ADD: "Add cash",
  SET_BUY_AMOUNT: "Buy trigger: amount",
  SET_BUY_TRIGGER: "Buy trigger: price",
  CANCEL_SET_BUY: "Cancel buy trigger",
  SET_SELL_AMOUNT: "Sell trigger: amount",
  SET_SELL_TRIGGER: "Sell trigger: price",
  CANCEL_SET_SELL: "Cancel sell trigger",
  DUMPLOG: "Dump log",
  DISPLAY_SUMMARY: "Summary",
};

export const nameOf = (command) => NAMES[command] ?? command[0] + command.slice(1).toLowerCase().replaceAll("_", " ");

export function History({ api, account }) {
  const [kind, setKind] = useState("all");
  const [{ entries, next }, setPages] = useState({ entries: null, next: null });
  const reading = useSending();
  const saving = useSending({ canGiveUp: true });
  const read = (query) => api.get(`${account.path}/history?kind=${kind}&limit=${A_PAGE}${query}`, { patienceMs: 0 });

  useEffect(() => {
    let ended = false;
    read("").then(
      (page) => {
        if (ended) return;
        const oldest = page.entries.at(-1)?.sequence ?? 0;
        const latest = new Set(page.entries.map((entry) => entry.sequence));
        setPages((now) => {
          const joins = now.kind === kind && latest.has(now.entries?.[0]?.sequence); // else there may be a gap between
          const older = joins ? now.entries.filter((entry) => entry.sequence < oldest) : [];
          return { kind, entries: [...page.entries, ...older], next: older.length > 0 ? now.next : page.next };
        });
      },
      () => {}, // the page already says that the account cannot be read
    );
    return () => {
      ended = true;
    };
  }, [kind, account.view.version]);

  const older = () =>
    reading.submit(["older", kind, next], async () => {
      const page = await read(`&before=${next}`);
      setPages((now) => ({ ...now, entries: [...now.entries, ...page.entries], next: page.next }));
    });
  const download = () =>
    saving.submit(["csv", kind], async ({ waiting, signal }) => {
      const csv = await allAsCsv(api, `${account.path}/history?kind=${kind}&limit=200&format=csv`, { waiting, signal });
      save(`history-${account.user}.csv`, csv.text, "text/csv");
      return csv.whole ? "" : "Only the latest entries are in the file: there are more than 10,000.";
    });
  const tools = html`<${Button} sending=${saving} kind="small quiet" onClick=${download}>Download CSV<//>`;
  return html`<${Panel} id="history" title="History" tools=${tools}>
    <${Choice} label="Which entries of the history" name="history-kind" options=${[["all", "Everything"], ["trades", "Trades"]]} value=${kind} onChoose=${setKind} />
    <${Outcome} sending=${saving} />
    ${entries === null || entries.length === 0
      ? html`<${Empty}>${entries === null ? "Reading…" : kind === "trades" ? "No trade yet." : "Nothing yet."}<//>`
      : html`<ul class="past" aria-label="History, newest first">
          ${entries.map((entry) => html`<${Past} key=${entry.sequence} entry=${entry} />`)}
        </ul>`}
    ${next !== null && html`<${Button} sending=${reading} kind="small" onClick=${older}>Older<//>`}
    <${Outcome} sending=${reading} />
  <//>`;
}

function Past({ entry }) {
  const ok = entry.outcome === "ok";
  const date = new Date(entry.timestamp);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
  const given = entry.amount === null ? "" : shown(centsOf(entry.amount));
  return html`<li class="entry">
    <time datetime=${date.toISOString()}>${day}${timeOfDay(entry.timestamp)}</time>
    <div>
      <p>
        ${entry.command === null ? "By the system" : nameOf(entry.command)} ${entry.symbol && entry.command !== null && html`<strong>${entry.symbol}</strong>`} ${entry.command !== null && given}
        ${!ok && html` <span class="not-ok">${entry.outcome.replaceAll("_", " ")}</span>`}
      </p>
      ${entry.detail && html`<p class="note">${entry.detail}</p>`}
      ${entry.events.map((event) => html`<p class="note" key=${event.id}>${sentenceOf(event)}</p>`)}
    </div>
    <span class="note number">${entry.cash !== null && html`cash ${shown(centsOf(entry.cash))}`}</span>
  </li>`;
}

/** Return the history as CSV: all pages below one header. */
async function allAsCsv(api, path, options) {
  let [text, before] = ["", ""];
  for (let page = 0; page < MOST_CSV_PAGES; page += 1) {
    const answer = await api.whole(`${path}${before}`, options);
    text += page === 0 ? answer.text : answer.text.slice(answer.text.indexOf("\n") + 1);
    const next = answer.headers.get("X-Next-Before");
    if (next === null) return { text, whole: true };
    before = `&before=${next}`;
  }
  return { text, whole: false };
}
