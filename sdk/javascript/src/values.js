// Columns as JavaScript values, and back, exactly: apache-arrow's own getters drop a byte-order mark of a text, replace what is not
// UTF-8, and give decimals as words.

import { isAscii, isUtf8 } from 'node:buffer';
import { DataType, makeData, RecordBatch, Struct, Type, Utf8, vectorFromArray, Vector } from 'apache-arrow';
import { Fault } from './fault.js';

/** @typedef {import('apache-arrow').Data} Data */
/** @typedef {import('apache-arrow').Schema} Schema */

const MOST = 2 ** 31 - 1; // bytes of a column of text in one batch

/** The types whose values lie in one array of numbers. */
const NUMBERS = new Set([Type.Int, Type.Float, Type.Time, Type.Timestamp, Type.Duration]);

/**
 * Whether a column's values are text.
 * @param {import('apache-arrow').DataType} type
 */
export const isText = (type) => DataType.isUtf8(type) || DataType.isLargeUtf8(type);

/**
 * The values of a column, null for null:
 *
 * | type | value |
 * |---|---|
 * | text | string; what is not UTF-8 is the fault `data.not_utf8` |
 * | binary | Uint8Array, of the batch's memory |
 * | integers of 64 bits, time, timestamp and duration | BigInt, in the type's unit |
 * | other integers, floats | number |
 * | decimal | string, with every digit |
 * | date | string, YYYY-MM-DD |
 * | boolean | boolean |
 * | any other | what apache-arrow gives |
 *
 * @param {RecordBatch} batch
 * @param {number} index Of the column.
 * @returns {any[]}
 */
export function valuesOf(batch, index) {
  const data = batch.data.children[index];
  const { type } = data;
  /** @type {(row: number) => any} */
  let get;
  if (isText(type)) get = textReader(data, batch.schema.fields[index].name);
  else if (DataType.isBinary(type) || DataType.isLargeBinary(type)) get = (row) => bytesAt(data, row);
  else if (DataType.isDecimal(type)) get = decimalReader(data, type);
  else if (DataType.isDate(type)) get = dateReader(data, type);
  else if (NUMBERS.has(type.typeId) && !(DataType.isFloat(type) && type.precision === 0)) { // of 16 bits: arrow's own way
    const wide = DataType.isInt(type) ? type.bitWidth === 64 : !DataType.isFloat(type);
    get = wide ? (row) => BigInt(data.values[row]) : (row) => data.values[row];
  } else {
    const vector = new Vector([data]);
    get = (row) => vector.get(row);
  }
  const out = new Array(data.length);
  const whole = data.nullCount === 0;
  for (let row = 0; row < data.length; row++) out[row] = whole || data.getValid(row) ? get(row) : null;
  return out;
}

/**
 * @param {Data} data
 * @param {number} row
 * @returns {Uint8Array}
 */
function bytesAt({ values, valueOffsets }, row) {
  return values.subarray(Number(valueOffsets[row]), Number(valueOffsets[row + 1]));
}

/**
 * @param {Data} data
 * @param {string} column
 * @returns {(row: number) => string}
 */
function textReader(data, column) {
  const { values, valueOffsets, length } = data;
  if (length === 0 || !values) return () => '';
  const from = Number(valueOffsets[0]);
  const bytes = Buffer.from(values.buffer, values.byteOffset + from, Number(valueOffsets[length]) - from);
  if (isAscii(bytes)) {
    const all = bytes.toString('latin1');
    return (row) => all.slice(Number(valueOffsets[row]) - from, Number(valueOffsets[row + 1]) - from);
  }
  const valid = isUtf8(bytes);
  return (row) => {
    const [start, end] = [Number(valueOffsets[row]) - from, Number(valueOffsets[row + 1]) - from];
    // A text that begins or ends within a character is none, though all of them together are.
    const cut = (bytes[start] & 0xc0) === 0x80 || (end < bytes.length && (bytes[end] & 0xc0) === 0x80);
    if (start < end && (valid ? cut : !isUtf8(bytes.subarray(start, end)))) {
      throw new Fault('data.not_utf8', 'data', `column ${JSON.stringify(column)} holds a text that is not UTF-8`);
    }
    return bytes.toString('utf8', start, end);
  };
}

/**
 * @param {Data} data
 * @param {import('apache-arrow').Decimal} type
 * @returns {(row: number) => string}
 */
function decimalReader({ values }, { bitWidth, scale }) {
  const words = bitWidth / 32;
  return (row) => {
    let n = 0n;
    for (let i = words - 1; i >= 0; i--) n = (n << 32n) | BigInt(values[row * words + i]);
    n = BigInt.asIntN(bitWidth, n);
    const digits = (n < 0n ? -n : n).toString().padStart(scale + 1, '0');
    const text = scale > 0 ? `${digits.slice(0, -scale)}.${digits.slice(-scale)}` : digits + '0'.repeat(-scale);
    return n < 0n ? `-${text}` : text;
  };
}

/**
 * @param {Data} data
 * @param {import('apache-arrow').Date_} type
 * @returns {(row: number) => string}
 */
function dateReader({ values }, { unit }) {
  // Days in 32 bits, or milliseconds in 64.
  return (row) => new Date(Number(values[row]) * (unit === 0 ? 864e5 : 1)).toISOString().slice(0, 10);
}

/**
 * A column of values, null or undefined for null. Texts are strings, decimals strings with at most the type's digits behind the point; of
 * any other type a value is what apache-arrow takes.
 * @param {import('apache-arrow').DataType} type
 * @param {any[]} values
 * @returns {Data}
 */
export function columnOf(type, values) {
  if (DataType.isUtf8(type)) return textColumn(values);
  if (DataType.isDecimal(type)) {
    const given = values;
    const decimal = type;
    values = given.map((v) => (v === null || v === undefined ? null : wordsOf(String(v), decimal)));
  }
  if (values.length === 0) return /** @type {Data} */ (makeData(/** @type {any} */ ({ type, length: 0 })));
  return vectorFromArray(values.map((v) => v ?? null), type).data[0];
}

/** @param {any[]} values */
function textColumn(values) {
  const { length } = values;
  const offsets = new Int32Array(length + 1);
  const valid = new Uint8Array((length + 7) >> 3);
  let nullCount = 0;
  let size = 0;
  values.forEach((v, row) => {
    if (v === null || v === undefined) {
      nullCount++;
    } else {
      if (typeof v !== 'string') throw new TypeError(`a column of text was given a ${typeof v}`);
      size += Buffer.byteLength(v);
      valid[row >> 3] |= 1 << (row & 7);
    }
    offsets[row + 1] = size;
  });
  if (size > MOST) throw new Fault('data.too_large', 'data', `the texts of one batch have ${size} bytes; at most 2 GiB are possible`);
  const data = Buffer.allocUnsafeSlow(size);
  values.forEach((v, row) => { if (typeof v === 'string') data.write(v, offsets[row], 'utf8'); });
  return makeData({ type: new Utf8(), length, nullCount, nullBitmap: nullCount ? valid : undefined, valueOffsets: offsets, data });
}

/**
 * @param {string} text
 * @param {import('apache-arrow').Decimal} type
 */
function wordsOf(text, { bitWidth, scale, precision }) {
  const m = /^([+-]?)(\d+)(?:\.(\d*))?$/.exec(text);
  const fraction = m?.[3] ?? '';
  const digits = m ? (m[2] + fraction.padEnd(scale, '0')).replace(/^0+(?=\d)/, '') : '';
  if (!m || fraction.length > scale || digits.length > precision) {
    throw new Fault('data.decimal', 'data', `a value is no decimal(${precision},${scale})`);
  }
  let n = BigInt.asUintN(bitWidth, BigInt(m[1] === '-' ? `-${digits}` : digits));
  const words = new Uint32Array(bitWidth / 32);
  for (let i = 0; i < words.length; i++, n >>= 32n) words[i] = Number(n & 0xffffffffn);
  return words;
}

/**
 * A batch of columns: for each an array of values, as columnOf takes them, or the Data of a column that is there already.
 * @param {Schema} schema
 * @param {(any[] | Data)[]} columns
 * @returns {RecordBatch}
 */
export function batchOf(schema, columns) {
  const children = schema.fields.map(({ type }, i) => {
    const given = columns[i];
    return Array.isArray(given) ? columnOf(type, given) : given;
  });
  return new RecordBatch(schema, makeData({ type: new Struct(schema.fields), length: children[0]?.length ?? 0, nullCount: 0, children }));
}

/**
 * The batch with other values in one column, whose type stays.
 * @param {RecordBatch} batch
 * @param {number} index
 * @param {any[] | Data} values
 */
export function replaced(batch, index, values) {
  return batchOf(batch.schema, batch.data.children.map((data, i) => (i === index ? values : data)));
}

/** The types that a stream may have, by their numbers in Arrow. */
const STREAMED = new Set([
  Type.Null, Type.Int, Type.Float, Type.Binary, Type.Utf8, Type.Bool, Type.Decimal, Type.Date, Type.Time, Type.Timestamp, Type.Interval,
  Type.List, Type.LargeList, Type.Struct, Type.FixedSizeBinary, Type.FixedSizeList, Type.Map, Type.Duration, Type.LargeBinary, Type.LargeUtf8,
]);

/**
 * The name of a type that no stream has, such as a dictionary; undefined when there is none.
 * @param {import('apache-arrow').Field[]} fields
 * @returns {string | undefined}
 */
export function unstreamed(fields) {
  for (const { type } of fields) {
    if (!STREAMED.has(type.typeId)) return String(type);
    const below = unstreamed(type.children ?? []);
    if (below) return below;
  }
  return undefined;
}

/**
 * A type in the words of a pipeline's columns.
 * @param {import('apache-arrow').Field} field
 */
export function typeName({ type, metadata }) {
  if (metadata.get('cipherstream.json') === 'true') return 'json';
  if (DataType.isInt(type)) return `${type.isSigned ? '' : 'u'}int${type.bitWidth}`;
  if (DataType.isFloat(type)) return `float${16 << type.precision}`;
  if (DataType.isDecimal(type)) return `decimal(${type.precision},${type.scale})`;
  if (DataType.isBool(type)) return 'boolean';
  if (isText(type)) return 'string';
  if (DataType.isBinary(type) || DataType.isLargeBinary(type)) return 'binary';
  if (DataType.isDate(type)) return 'date';
  if (DataType.isTimestamp(type)) return 'timestamp';
  if (DataType.isTime(type) || DataType.isDuration(type)) return 'time';
  return String(type).toLowerCase();
}
