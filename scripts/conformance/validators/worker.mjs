// Validates batches of resources. Started by ../conformance.py, once per core:
//
//   node worker.mjs MODULES PACKAGE             batches on standard input, one JSON line of findings each
//   node worker.mjs MODULES PACKAGE --describe  the profiles and their must-support rows, then ends
//
// A batch is a line with the number of resources, then that many lines.

import { readPackage, readVsac, requireFrom } from './definitions.mjs';
import { compileProfiles } from './profile.mjs';
import { coverageRows } from './coverage.mjs';
import { Invariants } from './invariants.mjs';
import { loadMedplum, loadFhir } from './published.mjs';
import { ValueSets } from './valuesets.mjs';
import { Walker } from './walk.mjs';

const [modules, packageFolder, mode] = process.argv.slice(2);
const { require, readR4 } = requireFrom(modules);
const published = readPackage(packageFolder);
const profiles = compileProfiles(published.StructureDefinition);

/** The US Core profiles above a profile, itself first. */
function lineage(url) {
  const line = [];
  for (let profile = profiles.get(url); profile; profile = profiles.get(profile.base)) line.push(profile);
  return line;
}

const resourceProfiles = published.StructureDefinition.filter(
  (definition) => definition.kind === 'resource' && !definition.abstract,
).map((definition) => profiles.get(definition.url));
const typesOf = resourceProfiles.map((profile) => profile.type);
const severalProfiles = new Set(typesOf.filter((type, index) => typesOf.indexOf(type) !== index));
const rows = new Map(
  resourceProfiles.map((profile) => [profile.url, coverageRows(profile, profiles, severalProfiles)]),
);

function describe() {
  return resourceProfiles.map((profile) => ({
    name: profile.name,
    url: profile.url,
    type: profile.type,
    base: rows.has(profile.base) ? profile.base : null,
    rows: rows.get(profile.url).map(({ element, why, own }) => ({ element, why, own })),
  }));
}

class Batch {
  result = { issues: [], profiles: {}, rows: {}, pending: [], targets: [] };

  /** Findings are [number of the resource in the batch, validator, path, message]. */
  add(index, validator, path, message) {
    this.result.issues.push([index, validator, path, message]);
  }

  /** Counts the rows of the profile that the resource has. */
  count(profile, { keys, references }) {
    const { result } = this;
    result.profiles[profile.url] = (result.profiles[profile.url] ?? 0) + 1;
    const counts = (result.rows[profile.url] ??= {});
    rows.get(profile.url).forEach((row, number) => {
      if (!keys.has(row.key)) return;
      if (row.target) {
        const found = references.get(row.key.split('→')[0]) ?? [];
        result.pending.push([profile.url, number, row.target, found]);
      } else {
        counts[number] = (counts[number] ?? 0) + 1;
      }
    });
  }
}

function validators() {
  const valueSets = new ValueSets();
  valueSets.add([...published.ValueSet, ...published.CodeSystem, ...readVsac()]);
  for (const name of ['valuesets.json', 'v3-codesystems.json', 'v2-tables.json']) valueSets.add(readR4(name));
  const walker = new Walker(profiles, valueSets, new Invariants(require), severalProfiles);
  const medplum = loadMedplum(require, readR4, published.StructureDefinition);
  const fhir = loadFhir(require);

  return function validate(resource, index, batch) {
    const named = Array.isArray(resource.meta?.profile) ? resource.meta.profile : [];
    const claimed = new Set(named.map((url) => String(url).split('|')[0]).filter((url) => rows.has(url)));
    const walked = new Set();
    const said = new Set();
    const report = (validator, path, message) => {
      const key = `${validator}|${path}|${message}`;
      if (!said.has(key)) batch.add(index, validator, path, message);
      said.add(key);
    };
    for (const [path, message] of fhir(resource)) report('fhir', path, message);
    for (const url of claimed.size > 0 ? claimed : [null]) {
      for (const [path, message] of medplum(resource, url)) report('medplum', path, message);
      for (const profile of lineage(url)) {
        if (walked.has(profile) || profile.type !== resource.resourceType) continue;
        walked.add(profile);
        const seen = walker.walk(resource, profile, report);
        batch.count(profile, seen);
        for (const target of seen.targets) batch.result.targets.push([index, ...target]);
      }
    }
  };
}

/** The lines of standard input. Only a line feed ends a line: node:readline would also split at U+2028. */
async function* lines() {
  let rest = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    let data = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
      yield data.toString('utf8', 0, end);
      data = data.subarray(end + 1);
    }
    rest = data;
  }
}

async function work() {
  const validate = validators();
  process.stdout.write('{"ready":true}\n');
  let expected = 0;
  let index = 0;
  let batch = null;
  for await (const line of lines()) {
    if (batch === null) {
      [expected, index, batch] = [Number(line), 0, new Batch()];
    } else {
      try {
        validate(JSON.parse(line), index, batch);
      } catch (error) {
        batch.add(index, 'profile', '', `the validators failed: ${error.message}`);
      }
      index += 1;
    }
    if (index === expected) {
      process.stdout.write(`${JSON.stringify(batch.result)}\n`);
      batch = null;
    }
  }
}

if (mode === '--describe') process.stdout.write(`${JSON.stringify(describe())}\n`);
else await work();
