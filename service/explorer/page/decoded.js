// Decoded pictures on canvases. They come as npy: bytes that need no decoding, the fastest way from a latent to pixels.
// Knows nothing of the parts of the page.

import { html, useLayoutEffect, useRef } from "./vendor/preact-htm.js";
import { request, send, useAnswer } from "./api.js";
import { Trouble } from "./controls.js";

/** The request that decodes latents, for readPictures. */
export function decodeRequest(model, latents) {
  return request("decode", { query: { model: model.name }, json: { z: latents }, accept: "application/x-npy" });
}

/** Send a request for pictures as npy, uint8 (N, H, W, C): N ImageData. */
export async function readPictures(asked, signal) {
  const content = await (await send(asked, signal)).arrayBuffer();
  const view = new DataView(content);
  const isFirstVersion = view.getUint8(6) === 1;
  const start = isFirstVersion ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
  const header = new TextDecoder().decode(content.slice(10, start));
  const [count, height, width, channels] = header.match(/'shape': \(([^)]*)\)/)[1].split(",").map(Number);
  const bytes = new Uint8Array(content, start);
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
  return html`<canvas ref=${canvas} width=${width} height=${height} role="img" aria-label=${label} data-testid=${testid} /><${Trouble} error=${error} />`;
}
