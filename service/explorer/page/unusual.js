// How unusual a picture is, in words.
// Knows nothing of where the scores come from.

import { html } from "./vendor/preact-htm.js";

const MEANINGS = {
  knn: "distance to the training latents",
  density: "density of the training latents",
  reconstruction: "error of the reconstruction",
  unexplained: "share that the reconstruction leaves unexplained",
  deviance: "nats that the reconstruction loses",
};

/** The score in one sentence. The share is rounded down, so that it is never said to be all of them. */
export function inWords({ calibrated, p_value: pValue }) {
  if (!calibrated) return "How unusual that is nobody knows: this model has no calibration.";
  const [p] = pValue;
  const digits = p < 0.01 ? 1 : 0;
  const share = (Math.floor(100 * (1 - p) * 10 ** digits) / 10 ** digits).toFixed(digits);
  return `${p < 0.01 ? "Very unusual: more" : p < 0.05 ? "Unusual: more" : "More"} unusual than ${share}\u00a0% of the held-out pictures (p\u00a0=\u00a0${p.toPrecision(2)}).`;
}

/** Each score with its value. */
export function Scores({ answer }) {
  return html`<table class="scores" data-testid="picture-scores">
    <thead><tr><th scope="col">score</th><th scope="col">value</th><th scope="col">p</th></tr></thead>
    <tbody>${Object.entries(answer.scores).map(([name, one]) => html`<tr key=${name}>
      <th scope="row" title=${one.unit}>${name}<span class="hint"> ${MEANINGS[name] ?? ""}</span></th>
      <td>${Number(one.value[0].toPrecision(3))}</td>
      <td>${one.p_value ? one.p_value[0].toPrecision(2) : "–"}</td>
    </tr>`)}</tbody>
  </table>`;
}
