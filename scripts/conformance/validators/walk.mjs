// Holds a resource against a profile: cardinality, slices, patterns, required bindings, reference targets and
// invariants; and notes on the way which elements of the profile it has.

import { capitalized, matchesPattern } from './profile.mjs';

// The types a value[x] may have, as its JSON key ends with them.
const TYPE_NAMES = new Set(
  (
    'base64Binary boolean canonical code date dateTime decimal id instant integer markdown oid positiveInt string time ' +
    'unsignedInt uri url uuid Address Age Annotation Attachment CodeableConcept Coding ContactPoint Count Distance ' +
    'Duration HumanName Identifier Money Period Quantity Range Ratio Reference SampledData Signature Timing ' +
    'ContactDetail Contributor DataRequirement Expression ParameterDefinition RelatedArtifact TriggerDefinition ' +
    'UsageContext Dosage Meta'
  )
    .split(' ')
    .map(capitalized),
);

const asList = (value) => (Array.isArray(value) ? value : [value]);

/** The values of an element, each with the object that holds its extensions where it is a primitive. */
function itemsOf(holder, node) {
  if (holder === null || typeof holder !== 'object') return [];
  const name = node.name;
  if (!name.endsWith('[x]')) return itemsOfKey(holder, name);
  const stem = name.slice(0, -3);
  for (const key of Object.keys(holder)) {
    const plain = key.replace(/^_/, '');
    const type = plain.startsWith(stem) ? plain.slice(stem.length) : '';
    if (TYPE_NAMES.has(type)) return itemsOfKey(holder, plain).map((item) => ({ ...item, choiceType: type }));
  }
  return [];
}

function itemsOfKey(holder, key) {
  const value = holder[key];
  const beside = holder[`_${key}`];
  if (value === undefined && beside === undefined) return [];
  if (!Array.isArray(value ?? beside)) return [{ value, beside }];
  const length = Math.max(value?.length ?? 0, beside?.length ?? 0);
  return Array.from({ length }, (_, index) => ({ value: value?.[index], beside: beside?.[index] }));
}

export class Walker {
  #profiles;
  #valueSets;
  #invariants;
  #severalProfiles;

  /** `severalProfiles` are the resource types that have more than one profile. */
  constructor(profiles, valueSets, invariants, severalProfiles) {
    this.#profiles = profiles;
    this.#severalProfiles = severalProfiles;
    this.#valueSets = valueSets;
    this.#invariants = invariants;
  }

  /**
   * Checks the resource. `report(validator, path, message)` is called for each finding, with the validator
   * "profile", "fhirpath" or, for what is no error, "note". Returns the keys of the elements that it has, the
   * references by element, and as `targets` [path, reference, profiles one of which it has to lead to].
   */
  walk(resource, profile, report) {
    const context = { resource, report, keys: new Set(), references: new Map(), targets: [] };
    this.#value(profile.root, { value: resource }, resource.resourceType, profile.root.id, context);
    return context;
  }

  #value(node, item, path, id, context) {
    const { value } = item;
    if (value !== undefined) {
      if (node.pattern !== undefined && !matchesPattern(value, node.pattern)) {
        context.report('profile', path, `does not match the pattern ${JSON.stringify(node.pattern)}`);
      }
      if (node.fixed !== undefined && JSON.stringify(value) !== JSON.stringify(node.fixed)) {
        context.report('profile', path, `is not the fixed value ${JSON.stringify(node.fixed)}`);
      }
      this.#binding(node, item, path, context);
      this.#reference(node, item, path, id, context);
      const choice = { resource: context.resource, choiceType: item.choiceType };
      this.#invariants.check(node.element, value, choice, (message) => context.report('fhirpath', path, message));
    }
    this.#children(node, item, path, id, context);
    const extension = node.types[0]?.code === 'Extension' ? this.#profiles.get(node.types[0].profile) : undefined;
    if (extension) this.#children(extension.root, item, path, id, context);
  }

  #children(node, item, path, id, context) {
    for (const [name, child] of node.children) {
      // A primitive's own children, id and extension, stand in the object beside it.
      const holder = item.value !== null && typeof item.value === 'object' ? item.value : item.beside;
      this.#element(child, holder, `${path}.${name.replace('[x]', '')}`, `${id}.${name}`, context);
    }
  }

  #element(node, holder, path, id, context) {
    const items = itemsOf(holder, node);
    this.#count(node, items.length, path, '', context);
    const allowed = node.name.endsWith('[x]') ? new Set(node.types.map((type) => capitalized(type.code))) : null;
    items.forEach((item, index) => {
      const itemPath = node.max > 1 ? `${path}[${index}]` : path + (item.choiceType ?? '');
      this.#seen(id, item, context);
      if (allowed?.size > 0 && !allowed.has(item.choiceType)) {
        context.report('profile', itemPath, `the type ${item.choiceType} is not allowed here`);
      }
      this.#value(node, item, itemPath, id, context);
    });
    if (node.slices.length > 0) this.#slices(node, items, path, id, context);
  }

  #count(node, count, path, slice, context) {
    if (count < node.min || count > node.max) {
      const range = `${node.min}..${node.max === Infinity ? '*' : node.max}`;
      context.report('profile', path, `${slice}has ${count} values, expected ${range}`);
    }
  }

  #seen(id, item, context) {
    if (item.value === undefined) return;
    context.keys.add(id);
    if (item.choiceType) {
      context.keys.add(`${id}(${item.choiceType})`);
      context.keys.add(`${id}(${item.choiceType.charAt(0).toLowerCase()}${item.choiceType.slice(1)})`);
    }
  }

  #slices(node, items, path, id, context) {
    const slicing = node.element.slicing;
    const placed = new Set();
    for (const slice of node.slices) {
      const sliceId = `${id}:${slice.slice}`;
      const mine = items.filter((item) => this.#isOfSlice(item, slice, slicing));
      this.#count(slice, mine.length, path, `slice ${slice.slice} `, context);
      for (const item of mine) {
        placed.add(item);
        this.#seen(sliceId, item, context);
        this.#value(slice, item, `${path}:${slice.slice}`, sliceId, context);
      }
    }
    if (slicing?.rules === 'closed') {
      for (const item of items)
        if (!placed.has(item)) context.report('profile', path, 'has a value of no slice, and the slicing is closed');
    }
  }

  #isOfSlice(item, slice, slicing) {
    if (slice.types[0]?.code === 'Extension') {
      const url = slice.types[0].profile ?? slice.children.get('url')?.fixed;
      return item.value?.url === url;
    }
    return (slicing?.discriminator ?? []).every((discriminator) => {
      if (discriminator.type === 'type' && discriminator.path === '$this') {
        return slice.types.some((type) => capitalized(type.code) === item.choiceType);
      }
      if (discriminator.type === 'value' || discriminator.type === 'pattern') {
        const steps = discriminator.path === '$this' ? [] : discriminator.path.split('.');
        return this.#discriminates(slice, item.value, steps);
      }
      throw new Error(`slicing by ${discriminator.type} is not supported (${slice.id})`);
    });
  }

  // Whether the value agrees with what the slice says about the element that `steps` lead to.
  #discriminates(node, value, steps) {
    if (value === undefined) return false;
    if (node.pattern !== undefined && !matchesPattern(value, node.pattern)) return false;
    if (node.fixed !== undefined && JSON.stringify(value) !== JSON.stringify(node.fixed)) return false;
    if (steps.length === 0) {
      const binding = node.element.binding;
      if (node.pattern === undefined && node.fixed === undefined && binding?.strength === 'required') {
        return this.#isMember(binding.valueSet, value, undefined);
      }
      return true;
    }
    const child = node.children.get(steps[0]);
    const values = value[steps[0]] === undefined ? [] : asList(value[steps[0]]);
    // Where the slice says nothing further down, its pattern above has told.
    if (!child) return true;
    return values.some((inner) => this.#discriminates(child, inner, steps.slice(1)));
  }

  // Whether a code, Coding, CodeableConcept or Quantity has a code of the value set; undefined where it has no code.
  #isMember(valueSet, value, whenUncoded) {
    if (typeof value === 'string') return this.#valueSets.has(valueSet, undefined, value);
    const codings = value.coding ?? [value];
    const coded = codings.filter((coding) => coding.code !== undefined);
    if (coded.length === 0) return whenUncoded;
    return coded.some((coding) => this.#valueSets.has(valueSet, coding.system ?? '', coding.code));
  }

  #binding(node, item, path, context) {
    const binding = node.element.binding;
    if (!binding?.valueSet || !['required', 'extensible'].includes(binding.strength)) return;
    const codeable = typeof item.value === 'string' ? !item.choiceType : true;
    if (!codeable || (item.choiceType && !['CodeableConcept', 'Coding', 'Quantity'].includes(item.choiceType))) return;
    const max = binding.extension?.find((extension) =>
      extension.url.endsWith('elementdefinition-maxValueSet'),
    )?.valueCanonical;
    const required = binding.strength === 'required' ? binding.valueSet : max;
    const shown = () => JSON.stringify(item.value?.coding ?? item.value?.code ?? item.value);
    if (required && !this.#isMember(required, item.value, false)) {
      context.report('profile', path, `has no code of the required value set ${required}: ${shown()}`);
    } else if (
      binding.strength === 'extensible' &&
      this.#valueSets.isClosed(binding.valueSet) &&
      !this.#isMember(binding.valueSet, item.value, true)
    ) {
      context.report('note', path, `has no code of the extensible value set ${binding.valueSet}: ${shown()}`);
    }
  }

  #reference(node, item, path, id, context) {
    const reference = item.value?.reference;
    if (typeof reference !== 'string' || reference.startsWith('#')) return;
    const type = /([A-Z][A-Za-z]+)\/[^/]+$/.exec(reference)?.[1];
    context.keys.add(`${id}→${type}`);
    if (!context.references.has(id)) context.references.set(id, []);
    context.references.get(id).push(reference);
    const targets = node.types
      .filter((candidate) => candidate.code === 'Reference')
      .flatMap((candidate) => candidate.targets);
    const fitting = targets.filter((target) => target.type === type || target.type === 'Resource');
    if (this.#severalProfiles.has(type) && fitting.length > 0) {
      const wanted = fitting.map((target) => target.profile);
      if (wanted.every((url) => this.#profiles.has(url))) context.targets.push([path, reference, wanted]);
    }
    if (targets.length > 0 && fitting.length === 0) {
      const types = [...new Set(targets.map((target) => target.type))].join(', ');
      context.report('profile', path, `refers to ${type}, expected ${types}`);
    }
  }
}
