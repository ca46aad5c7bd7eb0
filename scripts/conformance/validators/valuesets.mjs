// Which codes a value set has, as far as the value sets and code systems at hand tell. What they do not tell
// (SNOMED CT, LOINC, RxNorm, the value sets of VSAC) counts as a member: an unknown is never an error.

export class ValueSets {
  #valueSets = new Map();
  #codeSystems = new Map();
  #expansions = new Map();

  /** Adds ValueSets and CodeSystems; the first of a URL stays. */
  add(resources) {
    for (const resource of resources) {
      if (resource.resourceType === 'ValueSet' && !this.#valueSets.has(resource.url)) {
        this.#valueSets.set(resource.url, resource);
      } else if (
        resource.resourceType === 'CodeSystem' &&
        resource.content === 'complete' &&
        !this.#codeSystems.has(resource.url)
      ) {
        this.#codeSystems.set(resource.url, resource);
      }
    }
  }

  /** Whether every code of the value set is known, so that "not a member" is a finding. */
  isClosed(url) {
    const expansion = this.#expansion(url);
    return !expansion.open && [...expansion.systems.values()].every((codes) => codes !== null);
  }

  /** Whether the value set is known at all. */
  isKnown(url) {
    return !this.#expansion(url).open;
  }

  /** Whether the code may be a member. Without a system, a code of any system counts, as for elements of type code. */
  has(url, system, code) {
    const { open, systems, without } = this.#expansion(url);
    if (open) return true;
    if (without.has(`${system}|${code}`)) return false;
    if (system === undefined) return [...systems.values()].some((codes) => codes === null || codes.has(code));
    const codes = systems.get(system);
    return codes === null || (codes !== undefined && codes.has(code));
  }

  // An expansion: `open` when it is unknown; else per system the set of codes, or null for "any code of it".
  #expansion(versionedUrl) {
    const url = versionedUrl.split('|')[0];
    let expansion = this.#expansions.get(url);
    if (!expansion) {
      expansion = { open: true, systems: new Map(), without: new Set() };
      this.#expansions.set(url, expansion); // before it is filled: value sets may name each other in a circle
      const valueSet = this.#valueSets.get(url);
      if (valueSet?.compose?.include) Object.assign(expansion, this.#compose(valueSet.compose));
    }
    return expansion;
  }

  #compose(compose) {
    const result = { open: false, systems: new Map(), without: new Set() };
    const admit = (system, codes) => {
      const present = result.systems.get(system);
      if (codes === null || present === null) result.systems.set(system, null);
      else result.systems.set(system, present ? new Set([...present, ...codes]) : new Set(codes));
    };
    for (const include of compose.include) {
      if (include.concept) {
        admit(
          include.system,
          include.concept.map((concept) => concept.code),
        );
      } else if (include.system) {
        // A filter is not evaluated: all codes of the system stand for it.
        const codeSystem = this.#codeSystems.get(include.system);
        admit(include.system, codeSystem ? allCodes(codeSystem.concept) : null);
      } else {
        // Several value sets in one include mean their intersection; the first stands for it.
        const included = this.#expansion(include.valueSet[0]);
        if (included.open) result.open = true;
        for (const [system, codes] of included.systems) admit(system, codes);
      }
    }
    for (const exclude of compose.exclude ?? []) {
      for (const concept of exclude.concept ?? []) result.without.add(`${exclude.system}|${concept.code}`);
    }
    return result;
  }
}

function allCodes(concepts, codes = []) {
  for (const concept of concepts ?? []) {
    codes.push(concept.code);
    allCodes(concept.concept, codes);
  }
  return codes;
}
