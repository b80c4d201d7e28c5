// Draws the map: three canvases above each other, for pictures and grey, for points, and for marks and the pointer.
// Knows nothing of the service, of the state or of the other parts of the page.

import { rgb } from "./colors.js";
import { drawLetters } from "./letters.js";
import { Shades } from "./map_shades.js";

const MOST_PIXELS = 1.5e6; // of a canvas, so that screens of high resolution are drawn as fast
const OPAQUE = 0xe8000000; // alpha, blue, green, red: nearly
const MUTED = 0x48909090;
const POINTER_PICTURE = 72; // CSS pixels on a side

export class MapCanvas {
  /** `canvases`: {pictures, points, marks}. */
  constructor(canvases) {
    Object.assign(this, canvases);
    this.view = null;
    this.whole = 1; // the width of the view of all points
    this.tiles = null; // {canvas, lattice}
    this.circles = null; // the middle of the prior N(0, I)
    this.density = this.shades = null;
    this.dots = { points: new Float32Array(0), classes: [], of: [], isMuted: null };
    this.ratio = 1;
  }

  resize(width, height) {
    this.ratio = Math.min(devicePixelRatio || 1, Math.sqrt(MOST_PIXELS / (width * height)));
    for (const canvas of [this.pictures, this.points, this.marks]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    this.image = new ImageData(this.points.width, this.points.height);
    this.words = new Uint32Array(this.image.data.buffer);
    this.shades?.forget();
  }

  /** Take the colours from the style sheet, which has them light and dark. */
  dress() {
    const style = getComputedStyle(this.marks);
    const color = (name) => style.getPropertyValue(name).trim();
    const [grey, line, hole] = ["grey", "line", "hole"].map((name) => color(`--map-${name}`));
    this.colors = { grey, line, hole, fore: color("--fore"), back: color("--back") };
    this.shades = null;
  }

  setDensity(density) {
    this.density = density;
    this.shades = null;
  }

  /** Show a view to stay at: pixel for pixel what a link to it shows. */
  settle(view) {
    this.view = view;
    this.shades?.forget();
  }

  /** Draw pictures and points; the milliseconds that it took. */
  draw() {
    if (!this.view || !this.image) return 0;
    const start = performance.now();
    this.drawPictures();
    this.drawPoints();
    return performance.now() - start;
  }

  // --- pictures, greyness and hatching

  drawPictures() {
    const context = this.pictures.getContext("2d", { alpha: false });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = this.colors.grey;
    context.fillRect(0, 0, this.pictures.width, this.pictures.height);
    context.scale(this.ratio, this.ratio);
    if (this.tiles) {
      const { canvas, lattice } = this.tiles;
      const [left, top] = this.view.toPixels(lattice.left, lattice.top);
      const tile = lattice.step * this.view.unit;
      context.imageSmoothingEnabled = (tile * lattice.columns * this.ratio) / canvas.width < 2;
      context.drawImage(canvas, left, top, tile * lattice.columns, tile * lattice.rows);
    }
    if (this.circles) this.drawCircles(context);
    if (!this.density) return;
    this.shades ??= new Shades(this.density, this.colors);
    this.shades.draw(context, this.view, this.ratio);
  }

  /** Draw one, two and three standard deviations of the prior. */
  drawCircles(context) {
    const [x, y] = this.view.toPixels(...this.circles);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    for (const deviations of [1, 2, 3]) {
      context.beginPath();
      context.arc(x, y, deviations * this.view.unit, 0, 2 * Math.PI);
      context.strokeStyle = context.fillStyle = this.colors.hole;
      context.stroke();
      context.fillText(`${deviations} σ`, x, y - deviations * this.view.unit - 4);
    }
  }

  // --- points

  /** Draw all points into one picture: those that are muted first. */
  drawPoints() {
    const { points, classes, of, isMuted } = this.dots;
    const colors = classes.map(({ color }) => rgb(color).reduce((word, value, i) => word | (value << (8 * i)), 0) + OPAQUE);
    this.words.fill(0);
    if (isMuted) this.putPoints(points, of, Uint32Array.from(colors, () => MUTED), isMuted, 1);
    this.putPoints(points, of, Uint32Array.from(colors), isMuted, 0);
    this.points.getContext("2d").putImageData(this.image, 0, 0);
  }

  /** Put a square for each point, or for each point with one value of `isMuted`. This is the loop that has to be fast. */
  putPoints(points, of, colors, isMuted, value) {
    const { width, height } = this.image;
    const side = Math.max(1, Math.round(this.side * this.ratio));
    const scale = this.view.unit * this.ratio;
    const [left, top] = this.view.toPixels(0, 0).map((pixel) => pixel * this.ratio - side / 2 + 0.5);
    const words = this.words;
    const [most, lowest] = [width - side, height - side];
    for (let i = 0; i < of.length; i++) {
      const x = Math.floor(left + points[2 * i] * scale);
      const y = Math.floor(top - points[2 * i + 1] * scale);
      if (x < 0 || y < 0 || x > most || y > lowest || (isMuted && isMuted[i] !== value)) continue;
      const color = colors[of[i]];
      const end = (y + side) * width + x;
      for (let row = y * width + x; row < end; row += width) {
        for (let at = row; at < row + side; at++) words[at] = color;
      }
    }
  }

  /** The side of a point in CSS pixels: smaller for more points, larger the nearer one looks. */
  get side() {
    const count = this.dots.points.length / 2;
    const all = count > 30000 ? 1.5 : count > 3000 ? 2 : 4;
    return Math.min(5, all * Math.max(1, Math.sqrt(this.whole / this.view.width)));
  }

  // --- marks

  /** Draw the paths, {points, dashes}, the lasso, the letters, and the pointer with the picture there. */
  drawMarks({ marks, paths, lasso, pointer, picture, item }) {
    if (!this.view || !this.image) return;
    const context = this.marks.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, ...this.view.size);
    context.lineWidth = 2;
    for (const { points, dashes } of paths) this.line(context, points, dashes, this.colors.fore);
    if (lasso?.length) this.line(context, lasso, [], this.colors.hole, true);
    for (const { at } of marks) this.ring(context, at, 3, this.colors.fore);
    drawLetters(context, this.view, this.colors, marks);
    if (item) this.ring(context, item, 6, this.colors.hole);
    if (pointer) {
      this.ring(context, pointer, 9, this.colors.fore);
      if (picture) this.pictureAt(context, pointer, picture);
    }
  }

  line(context, points, dashes, color, close = false) {
    context.beginPath();
    for (const [x, y] of points) context.lineTo(...this.view.toPixels(x, y));
    if (close) context.closePath();
    for (const [stroke, width] of [[this.colors.back, 4], [color, 2]]) {
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.setLineDash(width === 2 ? dashes : []);
      context.stroke();
    }
    context.setLineDash([]);
  }

  ring(context, [x, y], radius, color) {
    for (const [stroke, width] of [[this.colors.back, 4], [color, 2]]) {
      context.beginPath();
      context.arc(...this.view.toPixels(x, y), radius, 0, 2 * Math.PI);
      context.strokeStyle = stroke;
      context.lineWidth = width;
      context.stroke();
    }
  }

  /** Draw the picture beside a point, where there is room for it. */
  pictureAt(context, [x, y], picture) {
    const [px, py] = this.view.toPixels(x, y);
    const apart = 26; // farther than the letter of a mark
    const [width, height] = picture.isWide ? [picture.width, picture.height] : [POINTER_PICTURE, POINTER_PICTURE];
    const left = px + apart + width < this.view.size[0] ? px + apart : px - apart - width;
    const top = py - apart - height > 0 ? py - apart - height : py + apart;
    context.fillStyle = this.colors.fore;
    context.fillRect(left - 2, top - 2, width + 4, height + 4);
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, left, top, width, height);
  }
}
