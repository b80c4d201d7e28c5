// How unusual a picture is, in words, and where its reconstruction differs.
// Knows nothing of where the picture came from.

import { html } from "./vendor/preact-htm.js";
import { request, send, useAnswer } from "./api.js";
import { toBase64 } from "./base64.js";
import { Thumb, Trouble } from "./controls.js";
import { HowToCalibrate } from "./how_to.js";
import { contentOf, isPictures, shown, worded } from "./kinds.js";
import { asSeen } from "./model.js";
import { set } from "./state.js";

const MEANINGS = {
  knn: "far from known pictures",
  density: "among few known pictures",
  reconstruction: "squared error of the reconstruction",
  unexplained: "part that is not redrawn",
  deviance: "loss in nats",
  surprise: "how unlikely the cells are, each given the others",
  nll: "loss in nats",
};

/** What is asked about an item x. The reconstruction only where no other picture shows it. */
export function scoreRequests(model, x, isMoved) {
  const query = asSeen(model);
  const content = contentOf(model, x);
  const scores = model.kind === "table" ? [...new Set(model.scores).add("surprise")].join() : null; // it tells the columns apart
  return {
    score: request("score", { query: { ...query, scores }, ...content }),
    ...(isPictures(model) && { errors: request("score", { query, ...content, accept: "image/png" }) }),
    ...(isMoved && { reconstruction: request("reconstruct", { query: { ...query, ...shown(model) }, ...content }) }),
  };
}

/** `mu`: the mean of the item, which its reconstruction carries; `requests`: those of scoreRequests; `score`: {answer, error}. */
export function Score({ model, mu, requests, score }) {
  const errors = useAnswer(requests.errors ?? null, readBase64);
  const reconstruction = useAnswer(requests.reconstruction ?? null);
  const again = requests.reconstruction && reconstruction.answer?.images[0];
  return html`
    <p class="words" role="status" data-testid="picture-words" aria-busy=${!score.answer && !score.error}>${score.answer ? worded(model, inWords(score.answer)) : score.error ? "" : "Finding out how unusual it is …"}</p>
    <div class="beside">
      ${requests.errors && html`<figure>
        <${ErrorMap} image=${errors.answer} shape=${model.shape} />
        <figcaption>difference: white is large</figcaption>
      </figure>`}
      ${again && html`<figure>
        <${Thumb} image=${again} z=${mu} onChoose=${() => set({ z: mu })} testid="picture-reconstruction" label="the reconstruction" />
        <figcaption>reconstruction</figcaption>
      </figure>`}
    </div>
    <${Trouble} error=${score.error ?? errors.error ?? reconstruction.error} />
    ${score.answer && !score.answer.calibrated && html`<${HowToCalibrate} />`}
    ${score.answer && html`<details data-testid="picture-how">
      <summary>How this was measured</summary><${Scores} answer=${score.answer} model=${model} />
    </details>`}`;
}

/** The score in one sentence. The share is rounded down, so that it is never said to be all of them. */
function inWords({ calibrated, p_value: pValue, scores }) {
  const [most] = scores.surprise?.largest ?? [];
  const column = most === undefined ? "" : ` The least likely cell: ${most}.`;
  if (!calibrated) return `This model has nothing to compare with (no calibration).${column}`;
  const [p] = pValue;
  const digits = p < 0.01 ? 1 : 0;
  const share = (Math.floor(100 * (1 - p) * 10 ** digits) / 10 ** digits).toFixed(digits);
  return `${p < 0.01 ? "Very unusual: more" : p < 0.05 ? "Unusual: more" : "More"} unusual than ${share}\u00a0% of the held-out pictures.${column}`;
}

/** The lower end of the answer: the picture itself stands above its error map. */
function ErrorMap({ image, shape: [height, width] }) {
  return html`<div class="errors" style=${`aspect-ratio: ${width} / ${height}`} data-testid="picture-errors">
    ${image && html`<img src="data:image/png;base64,${image}" 
      alt="How far each pixel is from the reconstruction: black for 0, white for 1" />`}
  </div>`;
}

/** Each score with its value. */
function Scores({ answer, model }) {
  const meaning = (name) => (MEANINGS[name] ? worded(model, `${MEANINGS[name]} (${name})`) : name);
  return html`<table class="scores" data-testid="picture-scores">
    <thead><tr><th scope="col">score</th><th scope="col">value</th><th scope="col">p</th></tr></thead>
    <tbody>${Object.entries(answer.scores).map(([name, one]) => html`<tr key=${name}>
      <th scope="row" title=${one.unit}>${meaning(name)}</th>
      <td>${Number(one.value[0].toPrecision(3))}</td>
      <td>${one.p_value ? one.p_value[0].toPrecision(2) : "–"}</td>
    </tr>`)}</tbody>
  </table>`;
}

const readBase64 = async (asked) => toBase64(new Uint8Array(await (await send(asked)).arrayBuffer()));
