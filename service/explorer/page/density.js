// How much data lies where on a plane: what an answer of /collections/NAME/map?density= says, in words and as pictures.
// Knows nothing of the service or of the page.

// Shares of the data that lie where it is at least as dense. Up to the first there is much data: the share that /coverage has,
// which says what is little data in all dimensions. Beyond the last there is none to speak of.
const DENSE = 0.95;
const NONE = 0.995;
export const SELDOM = `1 in ${Math.round(1 / (1 - NONE))}`; // items of the part that is said to have no data
const FAINTEST = 0.15; // opacity of pictures where there are no data

/** The density over a grid; cells are row by row, the lowest y first. */
export class Density {
  constructor({ density, holes, x_range, y_range }) {
    this.cells = density.length;
    this.ends = [...x_range, ...y_range];
    this.holes = holes.flat();
    this.shares = shares(density.flat());
  }

  /** The cell at a point of the plane, or -1 outside of the grid. */
  at(x, y) {
    const [left, right, lowest, highest] = this.ends;
    const column = Math.floor(((x - left) / (right - left)) * this.cells);
    const row = Math.floor(((y - lowest) / (highest - lowest)) * this.cells);
    return [row, column].every((one) => one >= 0 && one < this.cells) ? row * this.cells + column : -1;
  }

  isEmpty(cell) {
    return cell < 0 || this.shares[cell] > NONE || this.holes[cell];
  }

  /** What there is at a point, in words. */
  words(x, y) {
    const cell = this.at(x, y);
    if (this.holes[cell]) return "no data, a hole";
    if (this.isEmpty(cell)) return "no data";
    return this.shares[cell] > DENSE ? "little data" : "much data";
  }

  /** A canvas with a pixel for each cell, the highest y on top: opacity (0 to 1) of `color`, which is [red, green, blue]. */
  picture(opacity, color) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = this.cells;
    const image = new ImageData(this.cells, this.cells);
    const words = new Uint32Array(image.data.buffer); // alpha, blue, green, red
    const word = color.reduce((sum, value, i) => sum | (value << (8 * i)), 0);
    for (let cell = 0; cell < this.shares.length; cell++) {
      const row = this.cells - 1 - Math.floor(cell / this.cells);
      words[row * this.cells + (cell % this.cells)] = word | (Math.round(255 * opacity(cell)) << 24);
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  /** How much grey lies over a picture: none where it is dense, nearly all where there are no data. */
  greyness(cell) {
    const seldom = Math.min(1, Math.max(0, (this.shares[cell] - DENSE) / (NONE - DENSE)));
    return (1 - FAINTEST) * seldom;
  }
}

export const MOST_GREY = 1 - FAINTEST;

/** The width of each item in the density on a plane: less, the more items there are. The prior has a width of 1. */
export const planeBandwidth = (count) => Number((Math.max(1, count) ** (-1 / 6) / 4).toFixed(3));

/** The bandwidth of the density in all dimensions. Where the plane is all of the latent space, the map shows this very density. */
export const bandwidthOf = ({ latent_dim: dim, count }) => (dim === 2 ? planeBandwidth(count) : "auto");

/** For each cell, the share of the mass in cells that are at least as dense. */
function shares(density) {
  const order = Uint32Array.from(density, (_, i) => i).sort((a, b) => density[b] - density[a]);
  const total = density.reduce((sum, one) => sum + one, 0) || 1;
  const found = new Float32Array(density.length);
  let mass = 0;
  for (const cell of order) {
    mass += density[cell];
    found[cell] = density[cell] > 0 ? mass / total : 1;
  }
  return found;
}
