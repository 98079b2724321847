// Settings arrive as JSON. The host has checked them, but it need not be the host that is asking.

import { Fault } from './fault.mjs';

export const invalid = (stage, message) => new Fault('config.invalid', 'usage', `settings of ${stage}: ${message}`);

/** Reads settings, which have no other keys than these. */
export function settingsOf(raw, stage, keys) {
  let settings;
  try {
    settings = raw.length > 0 ? JSON.parse(raw) : {};
  } catch {
    throw invalid(stage, 'they are not JSON');
  }
  if (settings === null || typeof settings !== 'object' || Array.isArray(settings)) throw invalid(stage, 'they are not a JSON object');
  const unknown = Object.keys(settings).find((key) => !keys.includes(key));
  if (unknown !== undefined) throw invalid(stage, `unknown key ${JSON.stringify(unknown)}`);
  return settings;
}
