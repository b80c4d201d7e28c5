// What becomes of a picture: original, reconstruction and error map beside each other, and how unusual it is.
// Knows nothing of where the picture came from.

import { html } from "./vendor/preact-htm.js";
import { request, send, useAnswer } from "./api.js";
import { Thumb, Trouble } from "./controls.js";
import { set } from "./state.js";
import { inWords, Scores } from "./unusual.js";

const GAP = 2; // pixels between a picture and its error map in the answer of the service

/** What is asked about a picture: `body`, as the model sees it. */
export const verdictRequests = (query, body) => ({
  reconstruction: request("reconstruct", { query, body }),
  score: request("score", { query, body }),
  errors: request("score", { query, body, accept: "image/png" }),
});

/** `x`: the picture as base64; `mu`: its mean, which the pictures carry; `requests`: those of `verdictRequests`. */
export function Verdict({ model, x, mu, requests }) {
  const reconstruction = useAnswer(requests.reconstruction);
  const score = useAnswer(requests.score);
  const errors = useAnswer(requests.errors, readBase64);
  return html`
    <p class="words" role="status" data-testid="picture-words">${score.answer && inWords(score.answer)}</p>
    <div class="trio">
      <figure><${Thumb} image=${x} z=${mu} onChoose=${() => set({ z: mu })} testid="picture-original" label="the original" /><figcaption>original</figcaption></figure>
      <figure>${reconstruction.answer && html`<${Thumb} image=${reconstruction.answer.images[0]} z=${mu} onChoose=${() => set({ z: mu })} testid="picture-reconstruction" label="its reconstruction" />`}<figcaption>reconstruction</figcaption></figure>
      <figure>${errors.answer && html`<${ErrorMap} image=${errors.answer} shape=${model.shape} />`}<figcaption title="black: the same; white: as far apart as can be">error map</figcaption></figure>
    </div>
    <${Trouble} error=${reconstruction.error ?? score.error ?? errors.error} />
    ${score.answer?.note && html`<p class="hint" data-testid="picture-note">${score.answer.note}</p>`}
    ${score.answer && html`<details><summary>by score</summary><${Scores} answer=${score.answer} /></details>`}`;
}

/** The lower half of the answer: the picture itself stands above its error map. */
function ErrorMap({ image, shape: [height, width] }) {
  return html`<div class="errors" style=${`aspect-ratio: ${width} / ${height}`} data-testid="picture-errors">
    <img src="data:image/png;base64,${image}" alt="How far each pixel is from the reconstruction: black for 0, white for 1" style=${`margin-top: ${(-100 * (height + GAP)) / width}%`} />
  </div>`;
}

async function readBase64(asked) {
  const bytes = new Uint8Array(await (await send(asked)).arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
