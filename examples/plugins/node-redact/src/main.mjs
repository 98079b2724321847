#!/usr/bin/env node
// The plugin: its name, its version and its stages.

import packageFile from '../package.json';
import { CountFound, manifest as found } from './found.mjs';
import { KeepRows, manifest as keep } from './keep.mjs';
import { manifest as text, RedactText } from './redact.mjs';
import { serve } from './serve.mjs';

serve({
  name: 'redact',
  version: packageFile.version,
  stages: [{ manifest: text, Stage: RedactText }, { manifest: found, Stage: CountFound }, { manifest: keep, Stage: KeepRows }],
});
