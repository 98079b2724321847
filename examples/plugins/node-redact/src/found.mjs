// The filter redact/found: how much redact/text would find in each column of text. It gives no row as rows come, and at the
// end one for every column and kind.

import { Field, Int64, Schema, Utf8 } from 'apache-arrow';
import { batchOf, filter, valuesOf } from 'cipherstream';
import { kinds, redact } from './patterns.mjs';
import { textColumns } from './redact.mjs';

const OUT = new Schema([new Field('column', new Utf8(), false), new Field('kind', new Utf8(), false), new Field('found', new Int64(), false)]);

const summary = 'Counts the e-mail addresses, phone and Medicare numbers in each column of text.';
const doc = 'Takes all rows, and gives one at the end for every column of text and kind: `column`, `kind` and `found`.';

export const found = filter('found', { summary, doc }, class {
  bind(schema) {
    this.columns = textColumns(schema).map((index) => ({
      index, name: schema.fields[index].name, found: Object.fromEntries(Object.keys(kinds).map((kind) => [kind, 0n])),
    }));
    return OUT;
  }

  /** Counts, and gives nothing yet. */
  apply(batch) {
    for (const { index, found: sums } of this.columns) {
      for (const value of valuesOf(batch, index)) {
        if (value !== null) for (const kind of Object.keys(kinds)) sums[kind] += BigInt(redact(value, [kind]).found);
      }
    }
  }

  /** Gives what was counted. It is called once, when the input has ended well, and never after a failure. */
  * end() {
    const rows = this.columns.flatMap(({ name, found: sums }) => Object.entries(sums).map(([kind, n]) => [name, kind, n]));
    if (rows.length > 0) yield batchOf(OUT, OUT.fields.map((_, i) => rows.map((row) => row[i])));
  }
});
