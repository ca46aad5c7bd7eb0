// The validators that others wrote: npm `@medplum/core` and npm `fhir`.

/**
 * Medplum's validateResource with a profile compiles that profile anew for each resource, which is nine tenths
 * of its time. So each profile is loaded once as a type of its own, named by its URL, and a resource is validated
 * as a value of that type. Returns a function that gives [path, message] for each finding.
 */
export function loadMedplum(require, readR4, definitions) {
  const { loadDataType, validateTypedValue, OperationOutcomeError } = require('@medplum/core');
  const base = [...readR4('profiles-types.json'), ...readR4('profiles-resources.json')].filter(
    (resource) => resource.resourceType === 'StructureDefinition',
  );
  for (const definition of base) loadDataType(definition);
  const loaded = new Set();
  for (const definition of definitions) {
    if (definition.kind !== 'resource') continue;
    loadDataType({ ...loadable(definition), type: definition.url });
    loaded.add(definition.url);
  }
  // A profile's inner types (PatientContact, …) have the names of the base's, which are the ones to use.
  const profiled = new Set(definitions.map((definition) => definition.type));
  for (const definition of base) if (profiled.has(definition.type)) loadDataType(definition);

  return function validate(resource, profile) {
    try {
      const type = loaded.has(profile) ? profile : resource.resourceType;
      return validateTypedValue({ type, value: resource }).map(finding);
    } catch (error) {
      if (error instanceof OperationOutcomeError) return error.outcome.issue.map(finding);
      return [['', `medplum failed: ${error.message}`]];
    }
  };
}

const finding = (issue) => [issue.expression?.[0] ?? '', issue.details?.text ?? issue.code];

// What Medplum cannot read in a profile is left out for it, and checked by walk.mjs and invariants.mjs alone:
// - Provenance.entity.agent, which refers to the sliced Provenance.agent and is taken for one of its slices;
// - invariants of the form "telecom or endpoint", as it takes no element for a boolean.
function loadable(definition) {
  const element = definition.snapshot.element
    .filter((candidate) => candidate.id !== 'Provenance.entity.agent')
    .map((candidate) => ({
      ...candidate,
      constraint: candidate.constraint?.filter((constraint) => !/^\w+( or \w+)+$/.test(constraint.expression)),
    }));
  return { ...definition, snapshot: { element } };
}

/** npm `fhir`, for base R4: unknown members, types, and codes of required bindings. */
export function loadFhir(require) {
  const { Fhir } = require('fhir');
  const fhir = new Fhir();
  const members = new Map();
  const isMember = (valueSet, code, system) => {
    let codes = members.get(valueSet);
    if (!codes) {
      codes = new Set();
      for (const { uri, codes: list } of fhir.parser.parsedValueSets[valueSet]?.systems ?? []) {
        for (const item of list) codes.add(`${uri}|${item.code}`).add(`|${item.code}`);
      }
      members.set(valueSet, codes);
    }
    return codes.has(`${system ?? ''}|${code}`);
  };
  const options = { errorOnUnexpected: true, beforeCheckCode: isMember };

  return function validate(resource) {
    try {
      return fhir
        .validate(resource, options)
        .messages.filter((message) => message.severity === 'error' || message.severity === 'fatal')
        .map((message) => [message.location, message.message]);
    } catch (error) {
      return [['', `fhir failed: ${error.message}`]];
    }
  };
}
