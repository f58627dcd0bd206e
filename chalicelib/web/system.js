// The live view of the system, for operators, from the metrics of the local servers.

import { Line } from "./chart.js";
import { useEffect, useState } from "./hooks.js";
import { Empty, html, Panel } from "./html.js";
import { between, countsOf, parseMetrics, quantile } from "./metrics.js";
import { nameOf } from "./history.js";
import { inWords } from "./problems.js";

const EVERY_MS = 2_000;
const FIRST_MS = 500; // until the second look, with which there is something to tell
const KEPT = 60;

/** Look at the metrics every 2 s while the page is seen; `{absent}` where there are none, as in the cloud. */
function useMetrics(api) {
  const [view, setView] = useState({ history: [] });
  useEffect(() => {
    const last = new Map(); // by server: behind a proxy each look may be answered by another one
    let timer = null;
    let ended = false;
    let soon = true;
    const look = async () => {
      if (!document.hidden && !api.lapsed) {
        try {
          const now = countsOf(parseMetrics(await api.text("metrics", { patienceMs: 0 })), performance.now());
          const before = last.get(now.server);
          last.set(now.server, now);
          const step = before === undefined ? null : between(before, now);
          setView(({ history }) => ({ now, history: step === null ? history : [...history, step].slice(-KEPT) }));
        } catch (error) {
          if (error.status === 404 || (error.status === 403 && error.code !== "forbidden")) {
            setView({ absent: true, history: [] });
            return;
          }
          setView((view) => ({ ...view, problem: inWords(error).text }));
        }
      }
      if (!ended) timer = setTimeout(look, soon ? FIRST_MS : EVERY_MS);
      soon = false;
    };
    look();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [api]);
  return view;
}

export function System({ api }) {
  const { now, history, absent, problem } = useMetrics(api);
  if (absent) {
    return html`<${Panel} id="system" title="System">
      <p>There are no live metrics here: the local servers have them, functions in the cloud do not. There, CloudWatch has the same figures, in its dashboard of this stack.</p>
    <//>`;
  }
  if (now === undefined) return html`<${Panel} id="system" title="System"><${Empty}>${problem ?? "Looking…"}<//><//>`;
  const step = history.at(-1);
  const rates = history.map((item, index) => ({ x: index, y: item.all.count / item.seconds }));
  const slow = history.map((item, index) => ({ x: index, y: Math.min(quantile(item.all, 0.95) ?? 0, 10) * 1000 }));
  const bad = history.map((item, index) => ({ x: index, y: item.outcomes.failed / item.seconds }));
  const asked = now.quotes.cache + now.quotes.source + now.quotes.nowhere;
  return html`<div class="system">
    <${Panel} id="system" title="System" note=${`server ${now.server}, every ${EVERY_MS / 1000} s`}>
      <div class="gauges">
        <${Gauge} name="Commands a second" value=${step ? rate(step.all.count / step.seconds) : "…"} points=${rates} floor=${0} />
        <${Gauge} name="Latency, 95th percentile" value=${step ? upTo(quantile(step.all, 0.95)) : "…"} under=${step ? `median ${upTo(quantile(step.all, 0.5))}` : ""} points=${slow} floor=${0} />
        <${Gauge} name="Failures a second" value=${step ? rate(step.outcomes.failed / step.seconds) : "…"} under=${`${many(now.outcomes.failed)} since the start, ${many(now.outcomes.rejected)} rejected, ${many(now.outcomes.refused)} refused`} points=${bad} floor=${0} kind="bad" />
        <${Gauge} name="Quotes from the cache" value=${asked === 0 ? "—" : `${((100 * now.quotes.cache) / asked).toFixed(1)}%`} under=${`${many(now.quotes.cache)} cached, ${many(now.quotes.source)} fetched, ${many(now.quotes.nowhere)} not had`} />
        <${Gauge} name="Sweeps" value=${many(now.sweeps.ok ?? 0)} under=${`${many(now.sweeps.fired ?? 0)} triggers fired, ${many(now.sweeps.expired ?? 0)} orders given back, ${many(now.sweeps.failed ?? 0)} sweeps failed`} />
      </div>
    <//>
    <${Panel} id="commands" title="Commands since the start">
      <${Commands} now=${now} step=${step} />
    <//>
  </div>`;
}

const many = (count) => count.toLocaleString("en-US");
const rate = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

/** A bucket's end in words: what it holds took at most that long. */
function upTo(seconds) {
  if (seconds === null) return "—";
  if (seconds === Infinity) return "over 10 s";
  return seconds >= 1 ? `≤ ${seconds} s` : `≤ ${seconds * 1000} ms`;
}

function Gauge({ name, value, under, points = [], floor, kind }) {
  return html`<div class="gauge">
    <h3>${name}</h3>
    <p class="gauge-value">${value}</p>
    ${points.length > 1 && html`<${Line} points=${points} floor=${floor} kind=${kind} height=${40} label=${`${name} over the last ${points.length} looks`} />`}
    <p class="note">${under}</p>
  </div>`;
}

function Commands({ now, step }) {
  const recent = new Map((step?.commands ?? []).map((command) => [command.name, command]));
  const rows = [...now.commands].sort(([, one], [, other]) => other.count - one.count);
  if (rows.length === 0) return html`<${Empty}>No command yet.<//>`;
  return html`<table>
    <thead>
      <tr><th scope="col">Command</th><th scope="col" class="number">Count</th><th scope="col" class="number">A second</th><th scope="col" class="number">95 % within</th></tr>
    </thead>
    <tbody>
      ${rows.map(
        ([name, command]) => html`<tr key=${name}>
          <th scope="row">${nameOf(name)}</th>
          <td class="number">${many(command.count)}</td>
          <td class="number">${step && recent.has(name) ? rate(recent.get(name).count / step.seconds) : "…"}</td>
          <td class="number">${upTo(quantile(command, 0.95))}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}
