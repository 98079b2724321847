// The filter redact/found: how much redact/text would find in each column of text. It gives no row as rows come, and at the
// end one for every column and kind.

import { Field, Int64, makeData, RecordBatch, Schema, Struct, Utf8, vectorFromArray } from 'apache-arrow';
import { kinds, redact } from './patterns.mjs';
import { decodeText, isText, textOf } from './redact.mjs';
import { settingsOf } from './settings.mjs';

/** What the host is told of the stage (PROTOCOL.md, "Describe"). */
export const manifest = {
  kind: 'filter',
  name: 'found',
  summary: 'Counts the e-mail addresses, phone and Medicare numbers in each column of text.',
  doc: 'Takes all rows, and gives one at the end for every column of text and kind: `column`, `kind` and `found`.',
  shape_in: 'table',
  shape_out: 'table',
  spec: { fields: [] },
};

const OUT = new Schema([new Field('column', new Utf8(), false), new Field('kind', new Utf8(), false), new Field('found', new Int64(), false)]);

/** One instance of the stage. bind comes first, then apply for every batch, in order, then end. */
export class CountFound {
  #names = [];
  #indexes = [];
  #found = [];

  constructor(settings) {
    settingsOf(settings, 'filter "found"', []);
  }

  bind(schema) {
    this.#indexes = schema.fields.flatMap((field, i) => (isText(field.type) ? [i] : []));
    this.#names = this.#indexes.map((i) => schema.fields[i].name);
    this.#found = this.#names.map(() => Object.fromEntries(Object.keys(kinds).map((kind) => [kind, 0n])));
    return OUT;
  }

  /** Counts, and gives nothing yet. */
  apply(batch) {
    this.#indexes.forEach((index, at) => {
      const data = batch.data.children[index];
      for (let row = 0; row < data.length; row++) {
        if (!data.getValid(row)) continue;
        const text = decodeText(textOf(data, row), this.#names[at]);
        for (const kind of Object.keys(kinds)) this.#found[at][kind] += BigInt(redact(text, [kind]).found);
      }
    });
    return undefined;
  }

  /** Gives what was counted. It is called once, when the input has ended well, and never after a failure. */
  end() {
    const rows = this.#names.flatMap((name, at) => Object.entries(this.#found[at]).map(([kind, found]) => [name, kind, found]));
    if (rows.length === 0) return undefined;
    const children = OUT.fields.map((field, i) => vectorFromArray(rows.map((row) => row[i]), field.type).data[0]);
    return new RecordBatch(OUT, makeData({ type: new Struct(OUT.fields), length: rows.length, nullCount: 0, children }));
  }
}
