import { Field, Schema, Utf8 } from 'apache-arrow';
import { batchOf, filter } from 'cipherstream';

const other = new Schema([new Field('other', new Utf8())]);
const settings = { how: { required: true } };

export const stage = filter('breaks', { settings }, class { // contract
  hoard = [];

  constructor({ how }) {
    this.how = how;
  }

  bind(schema) {
    return schema;
  }

  apply() {
    if (this.how === 'exception') throw new RangeError('Jane'); // exception
    while (this.how === 'hang') this.at = Date.now(); // hang
    while (this.how === 'memory') { // memory
      this.hoard.push(Buffer.alloc(2 << 20, 'x')); // memory
      const until = Date.now() + 10; // memory
      while (Date.now() < until) this.at = Date.now(); // memory
    }
    return batchOf(other, [['other']]);
  }
});
