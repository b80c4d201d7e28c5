// Where the map has little data or none: the grey over its pictures, and the hatching.
// Knows nothing of the service or of the dots.

import { rgb } from "./colors.js";
import { MOST_GREY } from "./density.js";

const HATCH = 7; // CSS pixels from line to line
const MARGIN = 0.25; // around the view, as a share of it: while the map is dragged, what is drawn once is only moved
const LABEL = 60; // CSS pixels

/** The greyness and the hatching of a density. `ratio`: pixels of the canvas for each CSS pixel. */
export class Shades {
  constructor(density, colors) {
    Object.assign(this, { density, colors, layer: null });
    const isNone = (cell) => density.isEmpty(cell) && !density.holes[cell];
    this.grey = density.picture((cell) => density.greyness(cell), rgb(colors.grey));
    this.none = density.picture((cell) => Number(isNone(cell)), [0, 0, 0]);
    this.holes = density.holes.some(Boolean) && density.picture((cell) => Number(density.holes[cell]), [0, 0, 0]);
  }

  /** Draw all anew the next time, so that it is pixel for pixel what a link to the view shows. */
  forget() {
    this.layer = null;
  }

  /** Draw what a view has of them: anew only if it is zoomed, or moved farther than the margin. */
  draw(context, view, ratio) {
    const { width, height } = context.canvas;
    const place = () => view.toPixels(...this.layer.corner).map((pixel) => Math.round(pixel * ratio));
    const isSame = this.layer?.unit === view.unit;
    let [left, top] = isSame ? place() : [1, 1];
    const isCovered = left <= 0 && top <= 0 && left + this.layer.canvas.width >= width && top + this.layer.canvas.height >= height;
    if (!isCovered) {
      this.layer = this.made(view, ratio, width, height, isSame ? MARGIN : 0);
      [left, top] = place();
    }
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.layer.canvas, left, top);
    context.restore();
    this.drawLabel(context, view);
  }

  /** What a view with a margin has of them: {canvas, unit, corner: that on the left above, in the plane}. */
  made(view, ratio, width, height, margin) {
    const [across, down] = [width, height].map((pixels) => Math.round(pixels * margin));
    const canvas = canvasOf(width + 2 * across, height + 2 * down);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, across, down); // coordinates are those of the view
    this.drawMask(context, view, this.grey, this.colors.grey, MOST_GREY);
    this.hatch(context, view, this.none, this.colors.line, true);
    if (this.holes) this.hatch(context, view, this.holes, this.colors.hole, false);
    return { canvas, unit: view.unit, corner: view.toPlane(-across / ratio, -down / ratio) };
  }

  /** Draw a picture of the density; outside of the grid, where nothing lies, draw `color`. */
  drawMask(context, view, mask, color, opacity) {
    const { a: ratio, e: across, f: down } = context.getTransform();
    const [left, right, lowest, highest] = this.density.ends;
    const whole = (pixel) => Math.round(pixel * ratio) / ratio; // else there is a seam along the edge
    const [x0, y0] = view.toPixels(left, highest).map(whole);
    const [x1, y1] = view.toPixels(right, lowest).map(whole);
    context.drawImage(mask, x0, y0, x1 - x0, y1 - y0);
    if (!opacity) return;
    context.globalAlpha = opacity;
    context.fillStyle = color;
    context.beginPath();
    context.rect(-across / ratio, -down / ratio, context.canvas.width / ratio, context.canvas.height / ratio);
    context.rect(x0, y0, x1 - x0, y1 - y0);
    context.fill("evenodd");
    context.globalAlpha = 1;
  }

  /** Hatch a part of the plane; the lines go with the plane. */
  hatch(context, view, mask, color, andOutside) {
    const { width, height } = context.canvas;
    const { a: ratio, e: across, f: down } = context.getTransform();
    const hatched = canvasOf(width, height);
    const inner = hatched.getContext("2d");
    inner.setTransform(ratio, 0, 0, ratio, across, down);
    this.drawMask(inner, view, mask, "#000", andOutside ? 1 : 0);
    const piece = hatching(color, andOutside, ratio);
    const [x, y] = view.toPixels(0, 0).map((pixel) => Math.round(pixel * ratio) % piece.width);
    inner.globalCompositeOperation = "source-in";
    inner.fillStyle = inner.createPattern(piece, "repeat");
    inner.setTransform(1, 0, 0, 1, across + x, down + y);
    inner.fillRect(-across - x, -down - y, width, height);
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(hatched, 0, 0);
    context.restore();
  }

  /** Write what the hatching means into a corner that is hatched. */
  drawLabel(context, view) {
    const [right, low] = [view.size[0] - LABEL - 8, view.size[1] - 26];
    const isEmptyAt = (px, py) => this.density.isEmpty(this.density.at(...view.toPlane(px, py)));
    const isEmpty = ([left, top]) => isEmptyAt(left, top + 9) && isEmptyAt(left + LABEL, top + 9);
    const corner = [[8, low], [right, low], [8, 8], [right, 8]].find(isEmpty);
    if (!corner) return;
    context.fillStyle = this.colors.grey;
    context.beginPath();
    context.roundRect(...corner, LABEL, 18, 4);
    context.fill();
    context.fillStyle = "#fff";
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText("no data", corner[0] + LABEL / 2, corner[1] + 9.5);
  }
}

const canvasOf = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

/** A piece of a pattern of lines. */
function hatching(color, rising, ratio) {
  const side = Math.round(HATCH * ratio);
  const canvas = canvasOf(side, side);
  const context = canvas.getContext("2d");
  context.strokeStyle = color;
  context.lineWidth = (rising ? 1.2 : 2) * ratio;
  for (const shift of [-side, 0, side]) {
    context.moveTo(shift - 1, rising ? side + 1 : -1);
    context.lineTo(shift + side + 1, rising ? -1 : side + 1);
  }
  context.stroke();
  return canvas;
}
