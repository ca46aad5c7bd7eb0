// Evaluates the invariants (FHIRPath constraints of severity error) of the profiles with npm `fhirpath`.

// ele-1 asks for each element whether it is empty, ext-1 for each extension whether it has a value: the other
// validators find both. The rules about contained resources need no second look where none is contained.
const SKIPPED = new Set(['ele-1', 'ext-1']);
const ABOUT_CONTAINED = new Set(['dom-2', 'dom-3', 'dom-4', 'dom-5']);

// What FHIRPath cannot say, or this implementation cannot evaluate.
const BY_HAND = {
  // `$this is DateTime` is false for FHIR's dateTime, so the published expression never fails.
  'us-core-1': (value) => typeof value !== 'string' || value.length >= 10,
  // Well-formed, harmless XHTML: the structure checks parse the narrative.
  'txt-1': () => true,
  'txt-2': () => true,
  // "telecom or endpoint" is no boolean where there are two of them.
  'pd-1': (role) => role.telecom !== undefined || role.endpoint !== undefined,
  'us-core-13': (role) =>
    ['practitioner', 'organization', 'healthcareService', 'location'].some((name) => role[name] !== undefined),
  // Every contained resource is referred to; the published expression needs more than FHIRPath's types allow.
  'dom-3': (resource) => {
    const text = JSON.stringify({
      ...resource,
      contained: resource.contained.map((inner) => ({ ...inner, id: undefined })),
    });
    return resource.contained.every((inner) => text.includes(`"#${inner.id}"`) || text.includes('"reference":"#"'));
  },
};

export class Invariants {
  #fhirpath;
  #model;
  #functions;
  #compiled = new Map();

  constructor(require) {
    this.#fhirpath = require('fhirpath');
    this.#model = require('fhirpath/fhir-context/r4');
    const resolve = (nodes) => nodes.flatMap((node) => this.#resolve(node));
    this.#functions = { resolve: { fn: resolve, arity: { 0: [] }, internalStructures: true } };
  }

  // resolve() gives an empty resource of the type that the reference names: enough to ask for its type.
  #resolve(node) {
    const reference = node.data?.reference ?? node.data;
    const type = /(?:^|\/)([A-Z][A-Za-z]+)\/[A-Za-z0-9.-]+$/.exec(reference)?.[1];
    return type ? [node.constructor.makeResNode({ resourceType: type }, null, null, null, null, this.#model)] : [];
  }

  /** Checks the constraints of a profile's element on one of its values. Calls back for each that is broken. */
  check(element, value, context, report) {
    for (const constraint of element.constraint ?? []) {
      if (constraint.severity !== 'error' || SKIPPED.has(constraint.key) || !constraint.expression) continue;
      if (ABOUT_CONTAINED.has(constraint.key) && !context.resource.contained) continue;
      let holds;
      try {
        holds = BY_HAND[constraint.key]?.(value) ?? this.#holds(element, constraint.expression, value, context);
      } catch (error) {
        report(`${constraint.key} cannot be evaluated: ${error.message}`);
        continue;
      }
      if (!holds) report(`${constraint.key}: ${constraint.human}`);
    }
  }

  #holds(element, expression, value, context) {
    // The type of a choice is told by its key, so the constraint is asked of the resource, for all its values.
    const choice = /^[A-Za-z]+\.([A-Za-z]+)\[x\]$/.exec(element.path);
    const input = choice ? context.resource : value;
    const base = choice ? element.path.split('.')[0] : element.path.replace('[x]', context.choiceType ?? '');
    const path = choice ? `${choice[1]}.all(${expression})` : `iif(${expression}, true, false)`;
    const key = `${base}|${path}`;
    let evaluate = this.#compiled.get(key);
    if (!evaluate) {
      evaluate = this.#fhirpath.compile({ base, expression: path }, this.#model, {
        userInvocationTable: this.#functions,
      });
      this.#compiled.set(key, evaluate);
    }
    const result = evaluate(input, { resource: context.resource, rootResource: context.resource });
    return result.length === 1 && result[0] === true;
  }
}
