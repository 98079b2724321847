import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Binary, Bool, DateDay, Decimal, Field, Int32, Int64, LargeUtf8, makeData, RecordBatch, RecordBatchReader, Schema, Struct, Table, tableToIPC, Utf8 } from 'apache-arrow';
import { batchOf, columnOf, compressor, Fault, filter, replaced, sink, source, valuesOf } from '../src/index.js';
import { environmentOf, requestAt } from '../src/attach.js';
import { faultOf, framesOf } from '../src/fault.js';
import { Session } from '../src/session.js';
import { newCells, newTotals } from '../src/shared.js';
import { duration, parse, size, specOf } from '../src/setting.js';

const schemaOf = (type) => new Schema([new Field('c', type, true)]);
const roundTrip = (type, values) => valuesOf(batchOf(schemaOf(type), [values]), 0);

test('values come back as they went in', () => {
  for (const [type, values] of [
    [new Utf8(), ['a', null, '', 'žluť', '\ufeffx', '👩‍⚕️']],
    [new Utf8(), ['plain', 'ascii', '', null]],
    [new Int32(), [1, null, -2147483648]],
    [new Int64(), [1n, null, -9223372036854775808n]],
    [new Bool(), [true, null, false]],
    [new Decimal(2, 10, 128), ['0.01', null, '-12345678.90', '0.00']],
    [new Decimal(30, 65, 256), [`-${'9'.repeat(35)}.${'9'.repeat(30)}`, null, '0.000000000000000000000000000001']],
  ]) assert.deepEqual(roundTrip(type, values), type.precision === 65 ? [values[0], null, '0.000000000000000000000000000001'] : values);
  assert.deepEqual(roundTrip(new DateDay(), [new Date('2024-02-29'), null]), ['2024-02-29', null]);
  assert.deepEqual(roundTrip(new Binary(), [Uint8Array.of(0, 255), null]), [Uint8Array.of(0, 255), null]);
  assert.deepEqual(roundTrip(new Decimal(2, 10, 128), ['1', '+2.5']), ['1.00', '2.50']);
});

test('slices, and texts of 64-bit offsets', () => {
  const batch = batchOf(schemaOf(new Utf8()), [['ä', 'b', null, 'čč']]);
  assert.deepEqual(valuesOf(batch.slice(1, 4), 0), ['b', null, 'čč']);
  const large = makeData({ type: new LargeUtf8(), length: 1, nullCount: 0, valueOffsets: BigInt64Array.of(0n, 2n), data: Buffer.from('ä') });
  assert.deepEqual(valuesOf(batchOf(schemaOf(new LargeUtf8()), [large]), 0), ['ä']);
  assert.deepEqual(valuesOf(replaced(batch, 0, ['x', null, 'y', 'z']), 0), ['x', null, 'y', 'z']);
});

test('what is not UTF-8 is refused, also when a text is cut within a character', () => {
  for (const [bytes, offsets] of [[[0xff, 0x61], [0, 1, 2]], [[0xc3, 0xa4], [0, 1, 2]], [[0xc3, 0xa4, 0xc3], [0, 2, 3]]]) {
    const data = makeData({ type: new Utf8(), length: 2, nullCount: 0, valueOffsets: Int32Array.from(offsets), data: Uint8Array.from(bytes) });
    const batch = new RecordBatch(schemaOf(new Utf8()), makeData({ type: new Struct(schemaOf(new Utf8()).fields), length: 2, nullCount: 0, children: [data] }));
    assert.throws(() => valuesOf(batch, 0), { code: 'data.not_utf8', kind: 'data' });
  }
});

test('decimals that do not fit are refused', () => {
  for (const text of ['1.234', '123456789', 'x', '', '1e3', '.5']) {
    assert.throws(() => columnOf(new Decimal(2, 10, 128), [text]), { code: 'data.decimal' }, text);
  }
});

test('settings', () => {
  const settings = {
    a: { required: true, min: 2, max: 3 }, n: { type: 'integer', default: 7, min: 1 }, wait: { type: 'duration', default: '1m30s' },
    most: { type: 'size', default: '4MiB' }, key: { type: 'secret' }, list: { type: 'list', items: { enum: ['x', 'y'] } },
    map: { type: 'map', items: { type: 'number' } }, of: { type: 'object', fields: { on: { type: 'boolean', required: true } } },
  };
  const read = (given) => parse(Buffer.from(JSON.stringify(given)), settings);
  const got = read({ a: 'äöü', key: 'hush', list: ['x'], map: { k: 1.5 }, of: { on: true } });
  assert.deepEqual({ ...got, key: got.key.reveal() },
    { a: 'äöü', n: 7, wait: 90_000, most: 4 << 20, key: 'hush', list: ['x'], map: { k: 1.5 }, of: { on: true } });
  for (const text of [`${got.key}`, inspect(got.key), inspect(got)]) assert.ok(!text.includes('hush'), text);
  assert.throws(() => JSON.stringify(got.key), TypeError);
  for (const [given, place] of [
    [{}, 'a'], [{ a: 'x' }, 'a'], [{ a: 'long text' }, 'a'], [{ a: 'ab', n: 0 }, 'n'], [{ a: 'ab', n: 1.5 }, 'n'], [{ a: 'ab', n: 2 ** 53 }, 'n'],
    [{ a: 'ab', wait: '1 day' }, 'wait'], [{ a: 'ab', most: -1 }, 'most'], [{ a: 'ab', list: ['x', 'z'] }, 'list[1]'], [{ a: 'ab', map: { k: '1' } }, 'map.k'],
    [{ a: 'ab', of: {} }, 'of.on'], [{ a: 'ab', of: { on: 1 } }, 'of.on'], [{ a: 'ab', other: 1 }, 'other'], [{ a: 'ab', key: 7 }, 'key'],
  ]) assert.throws(() => read(given), (/** @type {any} */ f) => f.code === 'config.invalid' && f.details.setting === place, place);
  assert.throws(() => read([]), { code: 'config.invalid' });
  assert.throws(() => parse(Buffer.from('{'), {}), { code: 'config.invalid' });
  assert.throws(() => specOf({ a: { type: 'text' } }), TypeError);
  assert.equal(duration('1.5h'), 5400e3);
  assert.deepEqual(['-1s', '0', 's', '1', '1sx'].map(duration), [-1000, 0, undefined, undefined, undefined]);
  assert.deepEqual(['1 kB', '1.5KiB', '0.3', 'x'].map(size), [1000, 1536, undefined, undefined]);
});

test('faults say where and never what', () => {
  const error = new TypeError('the row of Jane\n    at Jane (/secret/jane.js:1:2)');
  const fault = faultOf(error, 'filter');
  assert.equal(fault.code, 'plugin.panic');
  assert.match(fault.message, /^the plugin's code threw TypeError at units\.test\.js:\d+$/);
  assert.equal(fault.stage, 'filter');
  assert.ok(framesOf(error).every(({ file }) => !file.includes('jane')));
  assert.equal(faultOf('text').message, "the plugin's code threw a string");
  const own = new Fault('a.b', 'data', 'c', { stage: 'first' });
  assert.equal(faultOf(own, 'second').stage, 'first');
  assert.throws(() => new Fault('a.b', 'oops', 'c'), TypeError);
});

test('a stage without its methods is refused', () => {
  assert.throws(() => filter('upper', {}, class { bind() {} }), /filter "upper" has no method apply/);
  const { manifest, place } = filter('upper', { doc: 'One line.\nMore.', keepsRows: true, settings: { a: {} } }, class { bind() {} apply() {} });
  assert.equal(manifest.summary, 'One line.');
  assert.equal(JSON.parse(manifest.spec.toString()).fields[0].name, 'a');
  assert.match(place?.file ?? '', /units\.test\.js$/);
});

test('a stage is checked before a run, as far as is known what it is given', async () => {
  const unread = () => { throw new Error('nothing is read'); };
  const columns = schemaOf(new Utf8());
  const stages = [
    filter('f', { settings: { column: { required: true } } }, class {
      constructor({ column }) { this.column = column; }
      bind(schema) {
        if (!schema.names.includes(this.column)) throw new Fault('t.column', 'usage', 'there is no such column');
        return new Schema([...schema.fields, new Field('more', new Int64(), true)]);
      }
      apply() { return unread(); }
    }),
    compressor('c', {}, class {
      bind(media) { return { ...media, extension: `${media.extension}.c` }; }
      write() { return unread(); }
      end() { return unread(); }
    }),
    source('s', {}, class {
      open() { return unread(); }
      batches() { return unread(); }
      check(report) {
        report.fine('the server answers');
        report.warn(new Fault('t.slow', 'source', 'the server is slow'));
        return columns;
      }
    }),
    sink('k', {}, class { open() {} write() {} commit() { return unread(); } abort() {} }),
  ];
  const session = new Session(stages, unread, newCells(), newTotals());
  const ask = async (kind, name, settings, more) => {
    const stage = { id: 'it', kind, name, settings: Buffer.from(settings) };
    const { findings, columns: gives, media } = await session.check({ stage, run_id: 'r', dir: '', columns: new Uint8Array(0), ...more });
    const names = gives && RecordBatchReader.from(gives).open().schema.names;
    return [findings.map(({ level, fault }) => `${level} ${fault.code} ${fault.stage}`).join(), names?.join(), media?.extension];
  };
  const stream = (schema) => ({ columns: tableToIPC(new Table(schema), 'stream') });
  const open = new Schema(columns.fields, new Map([['cipherstream.open', 'true']]));
  for (const [args, want] of [
    [['filter', 'f', '{"column": "c"}', stream(columns)], ['', 'c,more', undefined]],
    [['filter', 'f', '{"column": "x"}', stream(columns)], ['wrong t.column it', undefined, undefined]],
    [['filter', 'f', '{}'], ['wrong config.invalid it', undefined, undefined]],
    [['filter', 'f', '{"column": "x"}', stream(open)], ['', undefined, undefined]],
    [['filter', 'f', '{"column": "x"}', { ...stream(columns), backward: true }], ['', undefined, undefined]],
    [['compressor', 'c', '', { media: { type: 'text/x', extension: '.x' } }], ['', undefined, '.x.c']],
    [['source', 's', '', { connect: true }], ['fine check.fine it,warning t.slow it', 'c', undefined]],
    [['sink', 'k', '', { connect: true }], ['unchecked check.unchecked it', undefined, undefined]],
    [['sink', 'k', ''], ['', undefined, undefined]],
    [['sink', 'nobody', ''], ['wrong plugin.unknown_stage it', undefined, undefined]],
  ]) assert.deepEqual(await ask(.../** @type {any} */ (args)), want, String(args));
});

test('an attach request sets what a run may set, and nothing else', () => {
  const good = { PLUGIN_CLIENT_CERT: 'pem', CIPHERSTREAM_PLUGIN: 'cookie' };
  assert.deepEqual(environmentOf(JSON.stringify({ environment: good })), good);
  for (const text of ['', '{}', 'null', '{"environment": []}', '{"environment": {"PLUGIN_CLIENT_CERT": 1}}', '{"environment": null}']) {
    assert.throws(() => environmentOf(text), /not a run of cipherstream|no certificate/, text);
  }
  assert.throws(() => environmentOf('{"environment": {}}'), /no certificate/);
  assert.throws(() => environmentOf(JSON.stringify({ environment: { ...good, NODE_OPTIONS: '-r x' } })), /the variable "NODE_OPTIONS"/);
});

test('a run waits in a folder of its user alone, and says what it wants', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'a-'));
  const at = path.join(folder, 'a');
  let sent = '{"environment": {"PLUGIN_CLIENT_CERT": "pem"}}\n';
  const server = net.createServer((socket) => socket.end(sent)).listen(at);
  await once(server, 'listening');
  const { socket, environment } = await requestAt(at);
  socket.destroy();
  assert.deepEqual(environment, { PLUGIN_CLIENT_CERT: 'pem' });
  for (sent of ['', '{}', 'x'.repeat(65537)]) await assert.rejects(requestAt(at), /ended before it said/);
  fs.chmodSync(folder, 0o755);
  await assert.rejects(requestAt(at), /not a directory of this user alone/);
  server.close();
  fs.rmSync(folder, { recursive: true });
  await assert.rejects(requestAt(at), { code: 'ENOENT' });
});
