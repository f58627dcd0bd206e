// The live view of the system for operators, from the metrics of the local servers.

import { useChanging } from "./changes.js";
import { Line } from "./chart.js";
import { useEffect, useState } from "./hooks.js";
import { Empty, html, Panel } from "./html.js";
import { between, countsOf, parseMetrics, quantile, summed, together } from "./metrics.js";
import { nameOf } from "./history.js";
import { inWords } from "./problems.js";

const EVERY_MS = 2_000;
const FIRST_MS = 500; // until the second read, the first with something to show
const KEPT = 60;
const FORGOTTEN_MS = 30_000; // after this a server that has not answered is dropped

/**
 * Read the metrics every 2 s while the page is visible; `absent` where there are no metrics, as in the cloud. Behind a
 * proxy each read may be answered by another server: `servers` has all that answered recently.
 */
function useSystem(api) {
  const [view, setView] = useState({ history: [], servers: [] });
  useEffect(() => {
    const last = new Map();
    let timer = null;
    let ended = false;
    let soon = true;
    const look = async () => {
      if (!document.hidden && !api.lapsed) {
        const metrics = await metricsOf(api, last);
        if (ended) return;
        setView((now) => {
          const steps = [...last.values()].map(({ step }) => step).filter(Boolean);
          const history = metrics.problem || steps.length === 0 ? now.history : [...now.history, together(steps)].slice(-KEPT);
          return { ...metrics, history, servers: [...last.values()] };
        });
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

/** Read one server's metrics, and store in `last` the change since its last read. */
async function metricsOf(api, last) {
  try {
    const counts = countsOf(parseMetrics(await api.text("metrics", { patienceMs: 0 })), performance.now());
    const before = last.get(counts.server);
    last.set(counts.server, { counts, step: before === undefined ? null : between(before.counts, counts) });
    for (const [name, { counts: old }] of last) if (counts.at - old.at > FORGOTTEN_MS) last.delete(name);
    return {};
  } catch (error) {
    if (error.status === 404 || (error.status === 403 && error.code !== "forbidden")) return { absent: true };
    return { problem: inWords(error).text };
  }
}

/** The latest answer of /health, undefined before the first and null if there was none. */
function healthInWords(answer) {
  if (answer === undefined) return { well: true, words: "" };
  if (answer === null) return { well: false, words: "The server does not answer." };
  const { status, detail, down = [] } = answer;
  if (status === "ok") return { well: true, words: "All parts are healthy." };
  return { well: false, words: status === "degraded" ? `Working, but down: ${down.join(", ")}.` : `Unhealthy: ${detail}.` };
}

export function System({ api }) {
  const { history, absent, problem, servers } = useSystem(api);
  const { health } = api.connection;
  useChanging(health);
  const { well, words } = healthInWords(health.answer);
  const live = html`<p role="status" class=${well ? "muted" : "notice"}>${words}</p>`;
  if (absent) {
    return html`<${Panel} id="system" title="System">
      ${live}
      <p>There are no live metrics here: the local servers have them, functions in the cloud do not. There, CloudWatch has the same figures, in its dashboard of this stack.</p>
    <//>`;
  }
  if (servers.length === 0) return html`<${Panel} id="system" title="System">${live}<${Empty}>${problem ?? "Looking…"}<//><//>`;
  const now = summed(servers.map(({ counts }) => counts));
  const step = history.at(-1);
  const line = (of) => history.map((item, index) => ({ x: index, y: of(item) }));
  const asked = now.quotes.cache + now.quotes.source + now.quotes.nowhere;
  return html`<div class="system">
    <${Panel} id="system" title="System" note=${`${servers.map(({ counts }) => `server ${counts.server}`).join(", ")}, every ${EVERY_MS / 1000} s`}>
      ${live}
      ${problem && html`<p class="notice">These figures are old. ${problem}</p>`}
      <div class="gauges">
        <${Gauge} name="Commands per second" value=${step ? rate(step.rate) : "…"} points=${line((item) => item.rate)} floor=${0} />
        <${Gauge} name="Latency, 95th percentile" value=${step ? took(quantile(step.all, 0.95)) : "…"} under=${step ? `median ${took(quantile(step.all, 0.5))}` : ""} points=${line((item) => Math.min(quantile(item.all, 0.95) ?? 0, 10) * 1000)} floor=${0} />
        <${Gauge} name="Failures per second" value=${step ? rate(step.outcomes.failed) : "…"} under=${`${many(now.outcomes.failed)} since the start, ${many(now.outcomes.rejected)} rejected, ${many(now.outcomes.refused)} refused`} points=${line((item) => item.outcomes.failed)} floor=${0} kind="bad" />
        <${Gauge} name="Quotes from the cache" value=${asked === 0 ? "—" : `${((100 * now.quotes.cache) / asked).toFixed(1)}%`} under=${`${many(now.quotes.cache)} cached, ${many(now.quotes.source)} fetched, ${many(now.quotes.nowhere)} not had`} />
        <${Gauge} name="Sweeps" value=${many(now.sweeps.ok ?? 0)} under=${`${many(now.sweeps.fired ?? 0)} triggers fired, ${many(now.sweeps.expired ?? 0)} orders given back, ${many(now.sweeps.failed ?? 0)} sweeps failed`} />
      </div>
    <//>
    <${Panel} id="commands" title="Commands since the start">
      <${Commands} now=${now} step=${step} />
    <//>
    <${Panel} id="codes" title="Rejections and failures by code">
      <${Codes} codes=${now.codes} />
    <//>
  </div>`;
}

const many = (count) => count.toLocaleString("en-US");
const rate = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

/** A percentile in words: it is interpolated within a bucket, so two digits are all that it tells. */
function took(seconds) {
  if (seconds === null) return "—";
  if (seconds === Infinity) return "over 10 s";
  return seconds >= 1 ? `${seconds.toPrecision(2)} s` : `${Number((seconds * 1000).toPrecision(2))} ms`;
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
          <td class="number">${step && recent.has(name) ? rate(recent.get(name).rate) : "…"}</td>
          <td class="number">${took(quantile(command, 0.95))}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function Codes({ codes }) {
  if (codes.size === 0) return html`<${Empty}>None.<//>`;
  return html`<table>
    <thead><tr><th scope="col">Code</th><th scope="col" class="number">Count</th></tr></thead>
    <tbody>
      ${[...codes].sort(([, one], [, other]) => other - one).map(([code, count]) => html`<tr key=${code}><th scope="row">${code.replaceAll("_", " ")}</th><td class="number">${many(count)}</td></tr>`)}
    </tbody>
  </table>`;
}
