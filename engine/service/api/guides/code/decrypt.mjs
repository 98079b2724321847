import { createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';

const [customer, keyFile] = process.argv.slice(2);
const key = Buffer.from(readFileSync(keyFile, 'ascii').trim(), 'base64');
let index = 0;
let rest = '';

function open(line) {
  const [, iv, text] = JSON.parse(line).encrypted_data.split(':');
  const sealed = Buffer.from(text, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(iv, 'base64'), { authTagLength: 16 });
  decipher.setAAD(Buffer.from(`stream:${customer}:${index++}`));
  decipher.setAuthTag(sealed.subarray(-16));
  process.stdout.write(Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]));
}

for await (const piece of process.stdin.setEncoding('ascii')) {
  const lines = (rest + piece).split('\n');
  rest = lines.pop();
  lines.forEach(open);
}
if (rest !== '') throw new Error(`line ${index}: cut off`);
