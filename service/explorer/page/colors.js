// Colours for the values of metadata: a class of points for each value, or for each range of numbers.
// Knows nothing of the service or of the page.

// Ten bright colours for a dark ground, found by search. Two of them are at least 0.11 apart in OKLab, as people with protanopia and
// deuteranopia see them (by the matrices of Machado, Oliveira, Fernandes 2009), and 0.19 for all others. The contrast with black is
// at least 4.4.
const PALETTE = ["#fbd800", "#ff005b", "#38adaf", "#c400ff", "#b1d9ff", "#128607", "#f98d49", "#9462a6", "#01fbab", "#df8cff"];
const ONE = "#b1d9ff"; // where nothing is told apart
const OTHER = "#b0b0b0"; // values beyond the palette, and none
// Six of the colours of cividis, which is for everybody: Nunez, Anderton, Renslow (2018).
const SCALE = ["#2a4f9e", "#575d6d", "#7c7b78", "#a59c74", "#d2c060", "#fee838"];
const MOST_VALUES = PALETTE.length;

const isNumber = (value) => typeof value === "number";
const spelled = (value) => (typeof value === "string" ? value : value === undefined || value === null ? "none" : JSON.stringify(value));
const ordered = new Intl.Collator("en", { numeric: true }).compare;

/**
 * Classes of values: {classes: [{name, color, count}], of: Uint8Array with the class of each value}. More numbers than colours make
 * ranges of equal width; of more other values the most frequent have colours.
 */
export function classesOf(values) {
  const counts = new Map(); // a value may be "__proto__"
  const names = values.map(spelled);
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const found = [...counts.keys()];
  const numbers = values.filter(isNumber);
  if (found.length > MOST_VALUES && numbers.length >= 0.9 * values.length) return ranges(values, numbers);
  const most = found.length > MOST_VALUES ? MOST_VALUES - 1 : MOST_VALUES;
  const frequent = found.sort((a, b) => counts.get(b) - counts.get(a)).slice(0, most);
  const classes = frequent.sort(ordered).map((name, i) => ({ name, color: PALETTE[i], count: 0 }));
  if (found.length > frequent.length) classes.push({ name: `${found.length - frequent.length} others`, color: OTHER, count: 0 });
  const place = new Map(frequent.map((name, i) => [name, i]));
  return counted(classes, Uint8Array.from(names, (name) => place.get(name) ?? frequent.length));
}

/** One class for so many points. */
export const oneClass = (count) => ({ classes: [{ name: "", color: ONE, count }], of: new Uint8Array(count) });

function ranges(values, numbers) {
  const low = numbers.reduce((least, one) => Math.min(least, one));
  const high = numbers.reduce((most, one) => Math.max(most, one));
  // The difference of two numbers may be too large for one, a mean of them is not; and few numbers lie between neighbours.
  const mean = (_, i) => low * (1 - i / SCALE.length) + high * (i / SCALE.length);
  const ends = [...new Set(Array.from({ length: SCALE.length + 1 }, mean))].sort((one, other) => one - other);
  const written = distinct(ends);
  const inner = ends.slice(1, -1);
  const classes = inner.concat(high).map((_, i) => ({ name: `${written[i]} to ${written[i + 1]}`, color: SCALE[i], count: 0 }));
  if (numbers.length < values.length) classes.push({ name: "none", color: OTHER, count: 0 });
  const place = (value) => (isNumber(value) ? inner.filter((end) => end <= value).length : inner.length + 1);
  return counted(classes, Uint8Array.from(values, place));
}

/** Numbers with as few digits as tell them apart, three at least. */
function distinct(numbers) {
  for (let digits = 3; digits < 17; digits++) {
    const written = numbers.map((one) => Number(one.toPrecision(digits)));
    if (new Set(written).size === numbers.length && written.every(Number.isFinite)) return written;
  }
  return numbers;
}

function counted(classes, of) {
  for (const one of of) classes[one].count++;
  return { classes, of };
}

/** A colour such as "#3f90da" as [red, green, blue]. */
export const rgb = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
