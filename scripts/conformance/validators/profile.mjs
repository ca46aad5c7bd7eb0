// A profile, compiled from the snapshot of its StructureDefinition into a tree of elements.

const TYPE_MUST_SUPPORT = 'http://hl7.org/fhir/StructureDefinition/elementdefinition-type-must-support';
const USCDI = 'http://hl7.org/fhir/us/core/StructureDefinition/uscdi-requirement';
const FHIR_TYPE = 'http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type';

const flagged = (holder, url) =>
  holder?.extension?.some((extension) => extension.url === url && extension.valueBoolean === true) ?? false;
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** One element, or one slice of it. */
class Node {
  /** Child elements by name. */
  children = new Map();
  slices = [];

  constructor(element, profileTypes) {
    this.element = element;
    this.id = element.id;
    /** The name in JSON; that of a choice keeps its [x]. */
    this.name = element.path.split('.').pop();
    /** The name of the slice, if it is one. */
    this.slice = element.id.slice(element.id.lastIndexOf('.') + 1).split(':')[1];
    this.min = element.min ?? 0;
    this.max = element.max === undefined || element.max === '*' ? Infinity : Number(element.max);
    this.types = (element.type ?? []).map((type) => ({
      code:
        type.extension?.find((extension) => extension.url === FHIR_TYPE)?.valueUrl ??
        type.code.replace(/^http:\/\/hl7\.org\/fhirpath\/System\.(.)/, (_, first) => first.toLowerCase()),
      profile: type.profile?.[0]?.split('|')[0],
      mustSupport: flagged(type, TYPE_MUST_SUPPORT),
      targets: (type.targetProfile ?? []).map((url, index) => ({
        profile: url.split('|')[0],
        type: profileTypes.get(url.split('|')[0]) ?? url.split('|')[0].split('/').pop(),
        mustSupport: flagged(type._targetProfile?.[index], TYPE_MUST_SUPPORT),
      })),
    }));
    const key = (prefix) => Object.keys(element).find((name) => name.startsWith(prefix));
    this.pattern = element[key('pattern')];
    this.fixed = element[key('fixed')];
    this.mustSupport = element.mustSupport === true;
    this.uscdi = flagged(element, USCDI);
  }
}

export class Profile {
  constructor(definition, profileTypes) {
    this.url = definition.url;
    this.name = definition.url.split('/').pop();
    this.type = definition.type;
    this.base = definition.baseDefinition.split('|')[0];
    // The elements that this profile says something about; all others it has from its base.
    this.ownIds = new Set((definition.differential?.element ?? []).map((element) => element.id));
    this.nodes = new Map();
    const [root, ...elements] = definition.snapshot.element;
    this.root = new Node(root, profileTypes);
    this.nodes.set(root.id, this.root);
    for (const element of elements) this.#add(new Node(element, profileTypes));
    for (const node of this.nodes.values()) {
      // The same elements again, one level deeper: QuestionnaireResponse.item.item.
      const reference = node.element.contentReference?.split('#')[1];
      if (reference) node.children = this.nodes.get(reference)?.children ?? node.children;
    }
  }

  #add(node) {
    const cut = node.id.lastIndexOf('.');
    const parent = this.nodes.get(node.id.slice(0, cut));
    const name = node.id.slice(cut + 1).split(':')[0];
    this.nodes.set(node.id, node);
    if (node.slice === undefined) {
      parent.children.set(name, node);
      return;
    }
    if (!parent.children.has(name)) {
      parent.children.set(name, new Node({ id: `${parent.id}.${name}`, path: node.element.path }, new Map()));
    }
    parent.children.get(name).slices.push(node);
  }
}

/** Whether the value has all that the pattern has. */
export function matchesPattern(value, pattern) {
  if (Array.isArray(pattern))
    return Array.isArray(value) && pattern.every((wanted) => value.some((item) => matchesPattern(item, wanted)));
  if (pattern !== null && typeof pattern === 'object') {
    return (
      value !== null &&
      typeof value === 'object' &&
      Object.keys(pattern).every((key) => matchesPattern(value[key], pattern[key]))
    );
  }
  return value === pattern;
}

/** The profiles of a package by their URLs, those of extensions too. */
export function compileProfiles(definitions) {
  const types = new Map(definitions.map((definition) => [definition.url, definition.type]));
  return new Map(definitions.map((definition) => [definition.url, new Profile(definition, types)]));
}
