#!/usr/bin/env node
// The plugin: its name, its version and its stages.

import packageFile from '../package.json';
import { manifest, RedactText } from './redact.mjs';
import { serve } from './serve.mjs';

serve({ name: 'redact', version: packageFile.version, stages: [{ manifest, Stage: RedactText }] });
