// How dense the stored items are along a path: the line below its frames, and what that says in words.
// Knows nothing of requests.

import { html } from "./vendor/preact-htm.js";
import { isLittle } from "./density_level.js";

export const written = (value) => (value === null ? "−∞" : value.toFixed(1).replace("-", "−"));

const number = (value) => value ?? -Infinity; // null is a density of 0

/**
 * Judge the log densities of the frames: {lowest, crosses, words}. `level`: what is below it counts as little data; null: nothing
 * does. A path goes through little data if a frame is below the level and below both ends: where an end itself lies that
 * low, that is what is said.
 */
export function judge(density, level) {
  const values = density.map(number);
  const [first, last, least] = [values[0], values.at(-1), Math.min(...values)];
  const lowest = values.indexOf(least);
  const crosses = isLittle(least, level) && least < Math.min(first, last);
  const low = [isLittle(first, level) && "A", isLittle(last, level) && "B"].filter(Boolean);
  const words = [
    crosses && "crosses a gap with little data",
    low.length && `${low.join(" and ")} ${low.length > 1 ? "lie" : "lies"} where there is little data`,
    level !== null && !crosses && !low.length && "stays near the data",
  ].filter(Boolean);
  return { lowest, crosses, words: words.join("; ") };
}

/** The scale that several lines have in common, [lowest, highest], with some room, and room for words below the level. */
export function rangeOf(densities, level) {
  const values = [...densities.flat(), level].filter((value) => value !== null);
  if (!values.length) return [-1, 1];
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = Math.max(0.5, 0.1 * (most - least));
  const bottom = least - room;
  const top = most + room;
  return [level === null ? bottom : Math.min(bottom, level - 0.5 * (top - level)), top];
}

/** The line: one place for each frame, right below it. `range`: the scale, see rangeOf. */
export function DensityLine({ density, level, range, frame, lowest, label, testid }) {
  const [bottom, top] = range;
  const height = (value) => Math.min(1, (top - Math.max(bottom, number(value))) / (top - bottom)); // 0 is on top
  const points = density.map((value, i) => `${i + 0.5},${height(value)}`).join(" ");
  const n = density.length;
  return html`<div class="density" role="img" aria-label=${label} data-testid=${testid}>
    <svg viewBox="0 0 ${n} 1" preserveAspectRatio="none" aria-hidden="true">
      ${level !== null && html`<rect class="little" x="0" y=${height(level)} width=${n} height=${1 - height(level)} />
        <line class="level" x1="0" x2=${n} y1=${height(level)} y2=${height(level)} />`}
      <line class="now" x1=${frame + 0.5} x2=${frame + 0.5} y1="0" y2="1" />
      <polyline points=${points} />
    </svg>
    ${level !== null && html`<span class="little-label" style=${`top: ${100 * height(level)}%`}>little data</span>`}
    <span class="lowest" style=${`left: ${(100 * (lowest + 0.5)) / n}%; top: ${100 * height(density[lowest])}%`}></span>
  </div>`;
}
