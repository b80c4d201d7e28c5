// The mathematics of the map: planes through latent space, what of a plane is in view, and which points are where.
// Knows nothing of the service, of canvases or of the page.

import { shortest } from "./numbers.js";

/** The plane of two dimensions. */
export function planeOfDims(first, second, dim) {
  const axis = (one) => Array.from({ length: dim }, (_, i) => Number(i === one));
  return { origin: Array(dim).fill(0), axes: [axis(first), axis(second)] };
}

/** Where a latent is on a plane: [x, y]. */
export function project({ origin, axes }, z) {
  return axes.map((axis) => axis.reduce((sum, weight, i) => sum + weight * (z[i] - origin[i]), 0));
}

/** The latent of a point of a plane, as the float32 numbers that a link spells. */
export function lift({ origin, axes: [first, second] }, x, y) {
  return origin.map((value, i) => shortest(value + x * first[i] + y * second[i]));
}

const NARROWEST = 1e-3; // of a view, in units of the plane
// The service decodes latents whose numbers are up to 10,000. A view has its middle and its width up to FARTHEST, and is never higher
// than wide, so it ends at 1.5 FARTHEST, or 6,350 with half a tile. Axes have the length 1, so a latent in the corner has numbers up to
// 6,350 times the root of 2, about 8,980, and the origin of the plane may add a thousand.
const FARTHEST = 4000;
const within = (value, least, most) => Math.min(most, Math.max(least, value));

/** What of a plane is in view: its middle, its width in units of the plane, and the size of the canvas in CSS pixels. */
export class View {
  constructor(x, y, width, size) {
    [x, y, width] = [within(x, -FARTHEST, FARTHEST), within(y, -FARTHEST, FARTHEST), within(width, NARROWEST, FARTHEST)];
    Object.assign(this, { x, y, width, size, unit: size[0] / width }); // unit: pixels of one unit of the plane
  }
  toPixels(x, y) {
    return [(x - this.x) * this.unit + this.size[0] / 2, this.size[1] / 2 - (y - this.y) * this.unit];
  }
  toPlane(px, py) {
    return [(px - this.size[0] / 2) / this.unit + this.x, (this.size[1] / 2 - py) / this.unit + this.y];
  }
  /** The ends of both axes: [left, right, lowest, highest]. */
  get ends() {
    const [left, lowest] = this.toPlane(0, this.size[1]);
    const [right, highest] = this.toPlane(this.size[0], 0);
    return [left, right, lowest, highest];
  }
  movedBy(dx, dy) {
    return new View(this.x - dx / this.unit, this.y + dy / this.unit, this.width, this.size);
  }
  /** A view in which everything is so many times as large; the pixel (px, py) stays where it is. */
  zoomedBy(factor, px = this.size[0] / 2, py = this.size[1] / 2) {
    const width = within(this.width / factor, NARROWEST, FARTHEST);
    const [x, y] = this.toPlane(px, py);
    const share = width / this.width;
    return new View(x + (this.x - x) * share, y + (this.y - y) * share, width, this.size);
  }
}

/** The view that shows the ends of both axes: [left, right, lowest, highest]. */
export function viewOf([left, right, lowest, highest], size) {
  const width = Math.max(right - left, ((highest - lowest) * size[0]) / size[1]);
  return new View((left + right) / 2, (lowest + highest) / 2, width, size);
}

/** The ends between which nearly all points lie, a little wider. Points are [x0, y0, x1, y1, ...]. */
export function endsOf(points, least = 2) {
  if (!points.length) return [-3.5, 3.5, -3.5, 3.5];
  return [0, 1].flatMap((axis) => {
    const values = points.filter((_, i) => i % 2 === axis).sort();
    const low = values[Math.floor(values.length * 0.002)];
    const high = values[Math.ceil(values.length * 0.998) - 1];
    const margin = Math.max(0.06 * (high - low), (least - (high - low)) / 2);
    return [low - margin, high + margin];
  });
}

/**
 * A lattice of tiles that covers a view: their size in the plane, and the middles [x, y] row by row, the highest y first. Tiles
 * have from `pixels` to about 1.4 times as many pixels, and stay where they are when the view is moved.
 */
export function lattice(view, pixels) {
  const step = 2 ** (Math.ceil(2 * Math.log2(pixels / view.unit)) / 2);
  const [left, right, lowest, highest] = view.ends.map((end) => end / step);
  const first = Math.floor(left);
  const top = Math.ceil(highest);
  const columns = Math.ceil(right) - first;
  const rows = top - Math.floor(lowest);
  const middle = (i) => [(first + (i % columns) + 0.5) * step, (top - Math.floor(i / columns) - 0.5) * step];
  const middles = Array.from({ length: rows * columns }, (_, i) => middle(i));
  return { step, columns, rows, left: first * step, top: top * step, middles };
}

/** The index of the point that is nearest to (x, y), at most `reach` away, or -1. Points are [x0, y0, x1, y1, ...]. */
export function nearest(points, x, y, reach = Infinity) {
  let found = -1;
  let least = reach * reach;
  for (let i = 0; i < points.length; i += 2) {
    const dx = points[i] - x;
    const dy = points[i + 1] - y;
    const square = dx * dx + dy * dy;
    if (square <= least) {
      least = square;
      found = i / 2;
    }
  }
  return found;
}

/** The indices of the points inside a polygon; both are [x0, y0, x1, y1, ...]. */
export function inside(polygon, points) {
  const found = [];
  for (let i = 0; i < points.length; i += 2) {
    const x = points[i];
    const y = points[i + 1];
    let odd = false; // how many sides a ray to the right crosses
    for (let end = 0, start = polygon.length - 2; end < polygon.length; start = end, end += 2) {
      const above = polygon[end + 1] > y;
      if (above === polygon[start + 1] > y) continue;
      const share = (y - polygon[end + 1]) / (polygon[start + 1] - polygon[end + 1]);
      if (x < polygon[end] + share * (polygon[start] - polygon[end])) odd = !odd;
    }
    if (odd) found.push(i / 2);
  }
  return found;
}

/** At most so many of a list, evenly spread over it. */
export function spread(list, most) {
  if (list.length <= most) return list;
  return Array.from({ length: most }, (_, i) => list[Math.floor((i * list.length) / most)]);
}
