// Small charts, as SVG. The numbers here are coordinates: no money is computed with them.

import { html } from "./html.js";

const WIDTH = 300;

/** A line through `points` ({x, y}, x rising), with `dots` at the points; `label` describes it in words. */
export function Line({ points, label, height = 72, dots = false, floor = null, kind = "" }) {
  if (points.length === 0) return null;
  const xs = points.map((point) => point.x);
  const ys = points.map((point) => point.y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [low, high] = [floor ?? Math.min(...ys), Math.max(...ys)];
  const margin = 6;
  const side = dots ? 2 : 0; // room for the first and the last dot
  const across = (x) => (right === left ? WIDTH - side : side + ((x - left) / (right - left)) * (WIDTH - 2 * side));
  const level = floor === null ? height / 2 : height - 1; // where a flat line is drawn
  const up = (y) => (high === low ? level : margin + (1 - (y - low) / (high - low)) * (height - 2 * margin));
  const places = points.map(({ x, y }) => [across(x).toFixed(1), up(y).toFixed(1)]);
  if (places.length === 1) places.unshift(["0", places[0][1]]);
  const path = places.map(([x, y], index) => `${index === 0 ? "M" : "L"}${x} ${y}`).join("");
  return html`<svg
    class=${`chart ${kind}`}
    viewBox=${`0 0 ${WIDTH} ${height}`}
    preserveAspectRatio="none"
    role="img"
    aria-label=${label}
  >
    <path class="area" d=${`${path}V${height}H${places[0][0]}Z`} />
    <path class="line" d=${path} />
    ${dots && html`<path class="dots" d=${places.map(([x, y]) => `M${x} ${y}h0`).join("")} />`}
  </svg>`;
}
