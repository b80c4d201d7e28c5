// Arrays as npy, the format of NumPy: a short header, and then the bytes of the numbers.

const MAGIC = "\x93NUMPY";
const BLOCK = 64; // the numbers begin at a multiple of it

/** The bytes of an npy file: `type` such as "<f4" or "|u1", `shape` a list, `content` the bytes of the numbers. */
export function writeNpy(type, shape, content) {
  const described = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`;
  const start = Math.ceil((described.length + 11) / BLOCK) * BLOCK;
  const header = `${MAGIC}\x01\x00${String.fromCharCode((start - 10) & 255, (start - 10) >> 8)}${described.padEnd(start - 11)}\n`;
  const bytes = new Uint8Array(start + content.length);
  bytes.set(Array.from(header, (character) => character.charCodeAt(0)));
  bytes.set(content, start);
  return bytes;
}

/** Read an npy file, an ArrayBuffer: {shape, bytes}. */
export function readNpy(content) {
  const view = new DataView(content);
  const start = view.getUint8(6) === 1 ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
  const header = new TextDecoder().decode(content.slice(10, start));
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((one) => one.trim()).map(Number);
  return { shape, bytes: new Uint8Array(content, start) };
}
