// Must-support coverage: which elements a profile wants to see in a population.
//
// A row is an element with mustSupport, or one of the "additional USCDI requirements" of US Core. Of a choice
// of types or of reference targets, those that are flagged must-support give a row each; where none is flagged,
// any of them will do. An extension that the package defines adds the must-support elements of its own.

const ABSENT = { mustSupport: false, uscdi: false };

function rowsOfElement(node, prefix, profile, ids, severalProfiles) {
  const id = prefix + node.id.slice(profile.root.id.length);
  const base = {
    element: id,
    key: id,
    why: node.mustSupport ? 'must support' : 'USCDI',
    own: ids === null || ids.has(node.id),
  };
  const types = node.types.filter((type) => type.mustSupport);
  const chosen = types.length > 0 ? types : [null];
  return chosen.flatMap((type) => {
    const row = type ? { ...base, element: `${id} (${type.code})`, key: `${id}(${type.code})` } : base;
    const holder = type ?? (node.types.length === 1 ? node.types[0] : null);
    const targets = holder?.targets?.filter((target) => target.mustSupport) ?? [];
    if (targets.length === 0) return [row];
    return targets.map((target) => {
      // Where a type has several profiles, only what the reference leads to tells which of them it is.
      const ambiguous = severalProfiles.has(target.type) && target.profile.includes('/us/core/');
      const label = ambiguous ? target.profile.split('/').pop() : target.type;
      return {
        ...row,
        element: `${row.element} → ${label}`,
        key: `${id}→${target.type}`,
        target: ambiguous ? target.profile : undefined,
      };
    });
  });
}

function rowsBelow(node, prefix, profile, profiles, ids, severalProfiles, rows) {
  const { mustSupport, uscdi } = node.max === 0 ? ABSENT : node;
  if (mustSupport || uscdi) rows.push(...rowsOfElement(node, prefix, profile, ids, severalProfiles));
  const extension = node.types[0]?.code === 'Extension' ? profiles.get(node.types[0].profile) : undefined;
  if (extension && (mustSupport || uscdi)) {
    const below = prefix + node.id.slice(profile.root.id.length);
    for (const inner of extension.nodes.values()) {
      if (inner !== extension.root && inner.mustSupport && inner.max !== 0) {
        rows.push(...rowsOfElement(inner, below, extension, null, severalProfiles));
      }
    }
  }
}

/** The rows of a profile in the order of its snapshot; `severalProfiles` are the types that have more than one. */
export function coverageRows(profile, profiles, severalProfiles) {
  const rows = [];
  const ids = profiles.has(profile.base) ? profile.ownIds : null;
  for (const node of profile.nodes.values()) {
    if (node !== profile.root) rowsBelow(node, profile.root.id, profile, profiles, ids, severalProfiles, rows);
  }
  return rows;
}
