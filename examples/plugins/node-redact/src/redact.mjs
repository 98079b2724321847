// The filter redact/text: e-mail addresses, telephone numbers and Medicare numbers in free text become [email], [phone]
// and [medicare]. Every other byte stays what it is.

import { Field, Schema } from 'apache-arrow';
import { Fault, filter, isText, replaced, valuesOf } from 'cipherstream';
import { kinds, redact } from './patterns.mjs';

const JSON_MARK = 'cipherstream.json';

const settings = {
  columns: { type: 'list', items: {}, default: [], doc: 'The columns to redact, which must hold text. Default: every column of text.' },
  kinds: { type: 'list', items: { enum: Object.keys(kinds) }, default: Object.keys(kinds), min: 1, doc: 'What to look for.' },
};
const doc = 'What is found becomes `[email]`, `[phone]` or `[medicare]`; the receipt counts it as `redacted`. '
  + 'A column of JSON documents becomes plain text, because a document may be none any more.';

/** The filter. bind comes first, then apply for every batch, in order. */
export const text = filter('text', {
  keepsRows: true, settings, doc, summary: 'Redacts e-mail addresses, phone and Medicare numbers in free text.',
}, class {
  constructor({ columns, kinds: wanted }, { count }) {
    this.columns = columns;
    this.kinds = Object.keys(kinds).filter((kind) => wanted.includes(kind));
    this.count = count;
  }

  bind(schema) {
    this.indexes = this.columns.length === 0 ? textColumns(schema) : this.columns.map((name) => find(schema, name));
    const fields = schema.fields.map((field, i) => {
      if (!this.indexes.includes(i)) return field;
      const metadata = new Map(field.metadata);
      metadata.delete(JSON_MARK);
      return new Field(field.name, field.type, field.nullable, metadata);
    });
    this.schema = new Schema(fields, schema.metadata, undefined, schema.metadataVersion);
    return this.schema;
  }

  apply(batch) {
    return this.indexes.reduce((out, index) => this.column(out, index), batch);
  }

  /** Redacts a column; one in which nothing is found is handed through as it is. */
  column(batch, index) {
    let total = 0;
    const values = valuesOf(batch, index).map((value) => {
      if (value === null) return value;
      const { text: clean, found } = redact(value, this.kinds);
      total += found;
      return clean;
    });
    if (total === 0) return batch;
    this.count('redacted', total);
    return replaced(batch, index, values);
  }
});

export const textColumns = (schema) => schema.fields.flatMap(({ type }, i) => (isText(type) ? [i] : []));

function find(schema, name) {
  const found = schema.fields.flatMap((field, i) => (field.name === name ? [i] : []));
  if (found.length === 0) {
    const hint = `the columns are: ${schema.fields.map((field) => field.name).join(', ')}`;
    throw new Fault('redact.unknown_column', 'usage', `there is no column ${JSON.stringify(name)}`, { hint });
  }
  if (found.length > 1) {
    throw new Fault('redact.ambiguous', 'usage', `${found.length} columns are called ${JSON.stringify(name)}`, { hint: 'give them names of their own' });
  }
  const { type } = schema.fields[found[0]];
  if (!isText(type)) throw new Fault('redact.not_text', 'usage', `column ${JSON.stringify(name)} is ${type}; only text can be redacted`);
  return found[0];
}
