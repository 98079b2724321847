// Writes Arrow streams as arrow-js makes them of its own vectors: whole, sliced, empty and in two chunks. Standard output
// is one JSON object a line: the name of the vector and the stream in base64.

import * as arrow from 'apache-arrow';

const item = new arrow.Field('item', new arrow.Int32(), true);
const words = (n, ...values) => values.map((v) => (v === null ? null : Uint32Array.from({ length: n }, (_, i) => (i === 0 ? v : 0))));
const vectors = {
  null: [new arrow.Null(), [null, null, null, null]],
  bool: [new arrow.Bool(), [true, null, false, true]],
  int8: [new arrow.Int8(), [1, -1, null, 127]],
  int64: [new arrow.Int64(), [1n, null, -9223372036854775808n, 4n]],
  uint64: [new arrow.Uint64(), [1n, null, 18446744073709551615n, 4n]],
  float64: [new arrow.Float64(), [1.5, null, 2, 3]],
  text: [new arrow.Utf8(), ['a', null, '', 'žluť']],
  large_text: [new arrow.LargeUtf8(), ['a', null, '', 'žluť']],
  binary: [new arrow.Binary(), [Uint8Array.of(1, 2), null, Uint8Array.of(), Uint8Array.of(255)]],
  fixed_binary: [new arrow.FixedSizeBinary(2), [Uint8Array.of(1, 2), null, Uint8Array.of(4, 5), Uint8Array.of(7, 8)]],
  date: [new arrow.DateDay(), [new Date(0), null, new Date('2024-02-29'), new Date('1969-12-31')]],
  timestamp: [new arrow.TimestampMicrosecond('UTC'), [0, null, 1, 2]],
  time: [new arrow.TimeMicrosecond(), [0n, null, 1n, 2n]],
  duration: [new arrow.DurationMicrosecond(), [0n, null, 1n, 2n]],
  decimal: [new arrow.Decimal(2, 10, 128), words(4, 1, null, 5, 6)],
  decimal256: [new arrow.Decimal(0, 60, 256), words(8, 1, null, 5, 6)],
  list: [new arrow.List(item), [[1, 2], null, [], [3]]],
  fixed_list: [new arrow.FixedSizeList(2, item), [[1, 2], null, [4, 5], [3, 6]]],
  struct: [new arrow.Struct([new arrow.Field('x', new arrow.Int32(), true), new arrow.Field('y', new arrow.Utf8(), true)]),
    [{ x: 1, y: 'a' }, null, { x: 2, y: null }, { x: 3, y: 'c' }]],
  map: [new arrow.Map_(new arrow.Field('entries', new arrow.Struct([new arrow.Field('key', new arrow.Utf8(), false), new arrow.Field('value', new arrow.Int32(), true)]), false)),
    [new Map([['a', 1]]), null, new Map(), new Map([['b', null], ['c', 3]])]],
};

for (const [name, [type, values]] of Object.entries(vectors)) {
  const whole = arrow.vectorFromArray(values, type);
  for (const [form, vector] of Object.entries({ whole, slice: whole.slice(1, 4), empty: whole.slice(0, 0), chunks: whole.concat(whole) })) {
    const stream = arrow.tableToIPC(new arrow.Table({ [name]: vector }), 'stream');
    console.log(JSON.stringify({ name, form, stream: Buffer.from(stream).toString('base64') }));
  }
}
