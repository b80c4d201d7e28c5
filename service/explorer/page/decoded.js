// Decoded pictures on canvases. They come as npy: bytes that need no decoding, the fastest way from a latent to pixels.
// Knows nothing of the parts of the page.

import { html, useLayoutEffect, useRef } from "./vendor/preact-htm.js";
import { request, send, useAnswer } from "./api.js";
import { Trouble } from "./controls.js";
import { shown } from "./kinds.js";
import { readNpy } from "./npy.js";

/** The request that decodes latents, for readPictures. */
export function decodeRequest(model, latents) {
  return request("decode", { query: shown(model), json: { z: latents }, accept: "application/x-npy" });
}

/** Send a request for pictures as npy, uint8 (N, H, W, C): N ImageData. */
export async function readPictures(asked) {
  const { shape, bytes } = readNpy(await (await send(asked)).arrayBuffer());
  const [count, height, width, channels] = shape;
  const area = height * width;
  return Array.from({ length: count }, (_, i) => {
    const pixels = new Uint8ClampedArray(4 * area).fill(255);
    for (let from = i * area * channels, to = 0; to < pixels.length; from += channels, to += 4) {
      pixels[to] = bytes[from];
      pixels[to + 1] = bytes[channels === 3 ? from + 1 : from];
      pixels[to + 2] = bytes[channels === 3 ? from + 2 : from];
    }
    return new ImageData(pixels, width, height);
  });
}

let last = null; // the newest request for z, and its answer

/** Read the pictures of a request. Several parts show z: they follow it with one request between them. */
function readTogether(asked) {
  if (last?.body !== asked.body || last.path !== asked.path) {
    const one = { path: asked.path, body: asked.body, pictures: readPictures(asked) };
    one.pictures.catch(() => last === one && (last = null)); // it is asked again
    last = one;
  }
  return last.pictures;
}

/** The picture that a latent is decoded to. It follows the latent: one request is in flight, and the newest wins. */
export function Decoded({ model, z, label, testid }) {
  const canvas = useRef(null);
  const { answer, error } = useAnswer(decodeRequest(model, [z]), readTogether);
  useLayoutEffect(() => {
    if (answer) canvas.current.getContext("2d").putImageData(answer[0], 0, 0);
  }, [answer]);
  const [height, width] = model.shape;
  return html`<canvas ref=${canvas} ...${{ width, height }} role="img" aria-label=${label} data-testid=${testid} />
    <${Trouble} error=${error} />`;
}
