// A canvas to draw on, in the model's own size: what is drawn is what the model sees, pixel for pixel.
// Knows nothing of what becomes of the picture.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { writeNpy } from "./npy.js";

const STROKE = 0.09; // the width of a stroke, as a share of the picture: that of a written digit
const WIDEST = 0.4;

/** The pixels of a canvas as npy, uint8 (1, H, W) or (1, H, W, 3), which the service takes as they are. */
function pixelsOf(canvas, channels) {
  const { width, height } = canvas;
  const { data } = pen(canvas).getImageData(0, 0, width, height);
  const content = data.filter((_, i) => i % 4 < channels);
  return writeNpy("|u1", [1, height, width, ...(channels === 1 ? [] : [channels])], content);
}

const pen = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

/** Ink and paper of a model: its pictures are light on dark, or dark on light. */
function coloursOf({ preprocessing }) {
  return preprocessing.ink === "dark" ? { ink: "#000000", paper: "#ffffff" } : { ink: "#ffffff", paper: "#000000" };
}

/**
 * The canvas with its brush. `image`: what it shows, base64 of a PNG; null for an empty one, undefined for what it shows already.
 * `onDraw(npy, isFirst)` is called at each step of a stroke, `onDrawn(npy)` at its end. A stroke starts a new picture, unless
 * the visitor has drawn the one that is there (`isOwn`), or wants to draw over it. `beside` stands beside the canvas, and
 * `tools` with those of the brush.
 */
export function Sketch({ model, image, isOwn, onDraw, onDrawn, onInvert, onClear, beside, tools }) {
  const [height, width, channels] = model.shape;
  const { ink, paper } = coloursOf(model);
  const canvas = useRef(null);
  const stroke = useRef(null); // where the pointer was, during a stroke
  const hasStrokes = useRef(false); // of which the service may not have answered yet
  const [brush, setBrush] = useState({ color: ink, width: Math.round(2 * STROKE * width) / 2, erases: false, over: false });
  const change = (part) => setBrush((one) => ({ ...one, ...part }));

  const empty = () => {
    const context = pen(canvas.current);
    context.fillStyle = paper;
    context.fillRect(0, 0, width, height);
  };
  useEffect(() => {
    if (image === undefined || stroke.current) return;
    hasStrokes.current = false;
    if (image === null) return void empty();
    let isOld = false;
    const picture = new Image();
    picture.onload = () => !isOld && !stroke.current && pen(canvas.current).drawImage(picture, 0, 0, width, height);
    picture.src = `data:image/png;base64,${image}`;
    return () => (isOld = true);
  }, [image, model.name]);

  const place = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  const lineTo = (...points) => {
    const context = pen(canvas.current);
    context.strokeStyle = brush.erases ? paper : brush.color;
    context.lineWidth = brush.width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...stroke.current);
    for (const point of points) context.lineTo(...(stroke.current = point));
    context.stroke();
  };
  const start = (event) => {
    if (event.button !== 0) return;
    canvas.current.setPointerCapture(event.pointerId);
    if (!isOwn && !hasStrokes.current && !brush.over && !brush.erases) empty();
    hasStrokes.current = true;
    stroke.current = place(event);
    lineTo(stroke.current);
    onDraw(pixelsOf(canvas.current, channels), true);
  };
  const move = (event) => {
    if (!stroke.current) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    lineTo(...(steps.length ? steps : [event]).map(place));
    onDraw(pixelsOf(canvas.current, channels), false);
  };
  const end = () => {
    if (!stroke.current) return;
    stroke.current = null;
    onDrawn(pixelsOf(canvas.current, channels));
  };
  const hasOther = image && !isOwn; // a picture that the visitor has not drawn
  return html`<div class="both">
    <figure data-testid="picture-original"><canvas
      ref=${canvas} class="drawing" data-testid="picture-canvas" width=${width} height=${height}
      role="img" aria-label="The original, a canvas to draw on. Without a pointer, take an example or a file."
      onPointerDown=${start} onPointerMove=${move} onPointerUp=${end} onPointerCancel=${end}
    /><figcaption>${image === null ? "draw here" : "original, as the model sees it"}</figcaption></figure>
    ${beside}
    <div class="row brush">
      ${channels === 3 && html`<label>colour <input type="color" data-testid="picture-color" value=${brush.color}
        onInput=${(event) => change({ color: event.target.value, erases: false })} /></label>`}
      <label>width <input type="range" data-testid="picture-brush" min="1" max=${Math.round(WIDEST * width)} step="0.5" value=${brush.width}
        onInput=${(event) => change({ width: Number(event.target.value) })} /></label>
      <label><input type="checkbox" data-testid="picture-erase" checked=${brush.erases}
        onChange=${(event) => change({ erases: event.target.checked })} /> erase</label>
      <label style=${hasOther ? "" : "visibility: hidden" /* so that nothing moves when it comes */}><input type="checkbox" data-testid="picture-over" checked=${brush.over}
        onChange=${(event) => change({ over: event.target.checked })} /> draw over it</label>
      <button data-testid="picture-invert" title="swap dark and light" disabled=${!image} onClick=${onInvert}>invert</button>
      <button data-testid="picture-clear" onClick=${() => (empty(), onClear())}>clear</button>
      ${tools}
    </div>
  </div>`;
}
