// Numbers and lists of them.

/** The shortest decimal number that is this number in float32, as the service writes it. */
export function shortest(value) {
  const rounded = Math.fround(value);
  for (let digits = 6; digits < 9; digits++) {
    const text = Number(rounded.toPrecision(digits));
    if (Math.fround(text) === rounded) return text;
  }
  return Number(rounded.toPrecision(9));
}

/** Whether two points are the same. */
export const isSame = (one, other) => one.length === other.length && one.every((value, i) => value === other[i]);

/** Whether something from outside is a list of numbers, which float32 can have. `size`: how many; else any but none. */
export const isPoint = (value, size = value?.length) => Array.isArray(value) && size > 0 && value.length === size && value.every(isNumber);
const isNumber = (value) => typeof value === "number" && Number.isFinite(Math.fround(value));

export const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** A number as people write it, with a real minus. */
export const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
