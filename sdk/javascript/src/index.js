// Write CipherStream plugins in JavaScript: a class for each stage. The program around them is serve.js. See README.md.

export { Fault } from './fault.js';
export { File } from './file.js';
export { Encoding } from './link.js';
export { Secret } from './setting.js';
export { At, compressor, encoder, encryptor, filter, sink, source } from './stage.js';
export { batchOf, columnOf, isText, replaced, valuesOf } from './values.js';
