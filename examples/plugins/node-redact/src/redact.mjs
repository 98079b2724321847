// The filter redact/text: e-mail addresses, telephone numbers and Medicare numbers in free text become [email], [phone]
// and [medicare]. Every other byte stays what it is.

import { DataType, Field, makeData, RecordBatch, Schema, Struct } from 'apache-arrow';
import { Fault } from './fault.mjs';
import { kinds, redact } from './patterns.mjs';
import { invalid as invalidSettings, settingsOf } from './settings.mjs';

const JSON_MARK = 'cipherstream.json';

const allKinds = Object.keys(kinds);

/** What the host is told of the stage (PROTOCOL.md, "Describe"). */
export const manifest = {
  kind: 'filter',
  name: 'text',
  summary: 'Redacts e-mail addresses, phone and Medicare numbers in free text.',
  doc: 'What is found becomes `[email]`, `[phone]` or `[medicare]`; the receipt counts it as `redacted`. '
    + 'A column of JSON documents becomes plain text, because a document may be none any more.',
  shape_in: 'table',
  shape_out: 'table',
  keeps_rows: true,
  spec: {
    fields: [
      {
        name: 'columns', type: 'list', items: { name: '', type: 'string' },
        doc: 'The columns to redact, which must hold text. Default: every column of text.',
      },
      {
        name: 'kinds', type: 'list', items: { name: '', type: 'string', enum: allKinds }, default: JSON.stringify(allKinds), min: '1',
        doc: 'What to look for.',
      },
    ],
  },
};

const invalid = (message) => invalidSettings('filter "text"', message);

/** Checks the settings. */
function readSettings(raw) {
  const { columns = [], kinds: wanted = allKinds } = settingsOf(raw, 'filter "text"', ['columns', 'kinds']);
  for (const [name, list] of Object.entries({ columns, kinds: wanted })) {
    if (!Array.isArray(list) || list.some((v) => typeof v !== 'string')) throw invalid(`${name}: expected a list of texts`);
  }
  const odd = wanted.find((kind) => !allKinds.includes(kind));
  if (odd !== undefined) throw invalid(`kinds: ${JSON.stringify(odd)} is none of ${allKinds.join(', ')}`);
  if (wanted.length === 0) throw invalid('kinds: expected at least 1 element');
  return { columns, kinds: allKinds.filter((kind) => wanted.includes(kind)) };
}

export const isText = (type) => DataType.isUtf8(type) || DataType.isLargeUtf8(type);

/** The bytes of a text. */
export const textOf = ({ values, valueOffsets }, row) => values.subarray(Number(valueOffsets[row]), Number(valueOffsets[row + 1]));

// A byte-order mark is part of the value, and what is not UTF-8 must not become something else.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a column's bytes. */
export function decodeText(bytes, column) {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Fault('redact.not_utf8', 'data', `column ${JSON.stringify(column)} holds a text that is not UTF-8`);
  }
}

/** One instance of the stage. bind comes first, then apply for every batch, in order. */
export class RedactText {
  #settings;
  #count;
  #schema;
  #indexes = [];
  #encoder = new TextEncoder();

  /** @param {Buffer} settings JSON; count adds to a counter of the receipt. */
  constructor(settings, { count }) {
    this.#settings = readSettings(settings);
    this.#count = count;
  }

  bind(schema) {
    this.#indexes = this.#settings.columns.length === 0
      ? schema.fields.flatMap((field, i) => (isText(field.type) ? [i] : []))
      : this.#settings.columns.map((name) => this.#find(schema, name));
    const fields = schema.fields.map((field, i) => {
      if (!this.#indexes.includes(i)) return field;
      const metadata = new Map(field.metadata);
      metadata.delete(JSON_MARK);
      return new Field(field.name, field.type, field.nullable, metadata);
    });
    this.#schema = new Schema(fields, schema.metadata, undefined, schema.metadataVersion);
    return this.#schema;
  }

  #find(schema, name) {
    const found = schema.fields.flatMap((field, i) => (field.name === name ? [i] : []));
    if (found.length === 0) {
      throw new Fault('redact.unknown_column', 'usage', `there is no column ${JSON.stringify(name)}`,
        `the columns are: ${schema.fields.map((field) => field.name).join(', ')}`);
    }
    if (found.length > 1) {
      throw new Fault('redact.ambiguous', 'usage', `${found.length} columns are called ${JSON.stringify(name)}`, 'give them names of their own');
    }
    const { type } = schema.fields[found[0]];
    if (!isText(type)) {
      throw new Fault('redact.not_text', 'usage', `column ${JSON.stringify(name)} is ${type}; only text can be redacted`);
    }
    return found[0];
  }

  apply(batch) {
    const children = batch.data.children.map((data, i) => (this.#indexes.includes(i) ? this.#column(data, i) : data));
    return new RecordBatch(this.#schema, makeData({ type: new Struct(this.#schema.fields), length: batch.numRows, nullCount: 0, children }));
  }

  /** Redacts a column; one in which nothing is found is handed through as it is. */
  #column(data, index) {
    const { valueOffsets, length } = data;
    const pieces = [];
    let size = 0;
    let found = 0;
    const offsets = new valueOffsets.constructor(length + 1);
    const offset = DataType.isLargeUtf8(data.type) ? BigInt : Number;
    for (let row = 0; row < length; row++) {
      if (data.getValid(row)) {
        const bytes = textOf(data, row);
        const redacted = redact(decodeText(bytes, this.#schema.fields[index].name), this.#settings.kinds);
        const piece = redacted.found > 0 ? this.#encoder.encode(redacted.text) : bytes;
        found += redacted.found;
        size += piece.byteLength;
        pieces.push(piece);
      }
      offsets[row + 1] = offset(size);
    }
    if (found === 0) return data;
    if (size > 2 ** 31 - 1) {
      throw new Fault('redact.too_large', 'data', `the texts of a batch of column ${this.#name(index)} have ${size} bytes; at most 2 GiB are possible`);
    }
    this.#count('redacted', found);
    return makeData({
      type: data.type, length, nullCount: data.nullCount, nullBitmap: data.nullBitmap, valueOffsets: offsets, data: Buffer.concat(pieces, size),
    });
  }

  #name(index) {
    return JSON.stringify(this.#schema.fields[index].name);
  }
}
