// A pad to draw on with a pen, for models of drawings: what is drawn are lines, not pixels.
// Knows nothing of what becomes of the drawing.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";

const SIDE = 1000; // units of the pad
const ROOM = 0.8; // the share of it that a drawing from elsewhere takes
const APART = 6; // units between points

/**
 * The pad. `item`: its points [dx, dy, pen], null for an empty one; `source`: {json: {sketch}}, as it was drawn here.
 * `onDraw(sketch, isFirst)` is called at each step of a stroke, and `onDrawn(sketch)` at its end, with SVG path data. A stroke
 * begins a new drawing, unless the visitor has drawn the one that is there (`isOwn`).
 */
export function Pad({ item, source, isMade, isOwn, onDraw, onDrawn }) {
  const pad = useRef(null);
  const [lines, setLines] = useState([]);
  const stroke = useRef(null); // the lines, during a stroke
  const hasStrokes = useRef(false); // of which the service may not have answered yet
  useEffect(() => {
    if (isMade || stroke.current) return;
    hasStrokes.current = false;
    const sketch = source?.json?.sketch;
    setLines(sketch ? linesOf(sketch) : item ? fitted(item) : []);
  }, [item, isMade]);
  const place = (event) => {
    const { left, top, width, height } = pad.current.getBoundingClientRect();
    return [((event.clientX - left) / width) * SIDE, ((event.clientY - top) / height) * SIDE].map(Math.round);
  };
  const show = (report, ...more) => {
    setLines([...stroke.current]);
    report(pathOf(stroke.current), ...more);
  };
  const start = (event) => {
    if (event.button !== 0) return;
    pad.current.setPointerCapture(event.pointerId);
    stroke.current = [...(isOwn || hasStrokes.current ? lines : []), [place(event)]];
    hasStrokes.current = true;
    show(onDraw, true);
  };
  const move = (event) => {
    if (!stroke.current) return;
    const line = stroke.current.at(-1);
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const [x, y] of (steps.length ? steps : [event]).map(place)) {
      const [px, py] = line.at(-1);
      if (Math.hypot(x - px, y - py) >= APART) line.push([x, y]);
    }
    show(onDraw, false);
  };
  const end = () => {
    if (!stroke.current) return;
    show(onDrawn);
    stroke.current = null;
  };
  return html`<figure data-testid="picture-original">
    <svg ref=${pad} class="drawing" viewBox="0 0 ${SIDE} ${SIDE}" data-testid="picture-canvas" role="img"
      aria-label="The original, a pad to draw on. Without a pointer, take an example or a file."
      onPointerDown=${start} onPointerMove=${move} onPointerUp=${end} onPointerCancel=${end}><path d=${pathOf(lines)} /></svg>
    <figcaption>${lines.length ? "original" : "draw here"}</figcaption>
  </figure>`;
}

/** The SVG path data of lines. A dot is a line to itself. */
const pathOf = (lines) => lines.map((line) => `M${line[0]}L${line.join("L")}`).join("");
const linesOf = (sketch) => sketch.slice(1).split("M").map((line) => line.split("L").slice(1).map((point) => point.split(",").map(Number)));

/** The lines of points [dx, dy, pen] in the middle of the pad. */
function fitted(points) {
  const lines = [];
  let [x, y, isLifted] = [0, 0, true];
  for (const [dx, dy, pen] of points) {
    [x, y] = [x + dx, y + dy];
    if (isLifted) lines.push([]);
    lines.at(-1).push([x, y]);
    isLifted = pen === 1;
  }
  const [xs, ys] = [0, 1].map((axis) => lines.flat().map((point) => point[axis]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const scale = (ROOM * SIDE) / (Math.max(right - left, bottom - top) || 1);
  const middle = (value, low, high) => Math.round((value - (low + high) / 2) * scale + SIDE / 2);
  return lines.map((line) => line.map(([px, py]) => [middle(px, left, right), middle(py, top, bottom)]));
}
