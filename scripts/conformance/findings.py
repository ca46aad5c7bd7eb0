"""Errors, counted per type and validator and grouped with a few examples."""

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TextIO

EXAMPLES = 3
VALIDATORS = ["medplum", "fhir", "fhirkit", "fhirpath", "profile", "structure", "export"]
"""The columns of the table: three published validators, a published FHIRPath engine, and our own checks."""


@dataclass(order=True, frozen=True)
class Finding:
    """One error, or one note, which is no error."""

    position: tuple[str, int]
    """File and line."""
    resource_type: str
    resource_id: str
    path: str
    message: str
    validator: str

    def kind(self) -> str:
        """The same for the same message but for values, at the same element but for indexes."""
        element = re.sub(r"\[\d+\]", "", self.path)
        message = re.sub(r"'[^']*'|\"[^\"]*\"|\[.*\]|\b[\w.+-]*\d[\w.:+-]*", "…", self.message)
        return f"{element} {message}"


@dataclass
class Group:
    count: int = 0
    examples: list[Finding] = field(default_factory=list)
    """Those that come first in the export."""

    def add(self, finding: Finding) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES or finding < self.examples[-1]:
            self.examples = sorted([*self.examples, finding])[:EXAMPLES]


class Findings:
    """All findings, grouped by validator, type and kind; `log` gets each of them as a line of JSON."""

    def __init__(self, log: TextIO | None = None) -> None:
        self.groups: dict[tuple[str, str, str], Group] = {}
        self.log = log

    def add(self, finding: Finding) -> None:
        key = (finding.validator, finding.resource_type, finding.kind())
        self.groups.setdefault(key, Group()).add(finding)
        if self.log:
            print(json.dumps(asdict(finding)), file=self.log)

    def errors(self) -> int:
        return sum(group.count for (validator, _, _), group in self.groups.items() if validator != "note")

    def print_table(self, resources: Counter) -> None:
        """Prints a row per resource type: resources, and errors by validator."""
        counts: Counter = Counter()
        for (validator, resource_type, _), group in self.groups.items():
            counts[resource_type, validator] += group.count
        types = sorted(set(resources) | {resource_type for resource_type, validator in counts if validator != "note"})
        print(f"\n{'type':<24}{'resources':>10}" + "".join(f"{name:>10}" for name in VALIDATORS))
        for resource_type in types:
            cells = [resources[resource_type], *(counts[resource_type, name] for name in VALIDATORS)]
            print(f"{resource_type or '?':<24}" + "".join(f"{cell:>10,}" for cell in cells))
        totals = [sum(resources.values()), *(sum(counts[kind, name] for kind in types) for name in VALIDATORS)]
        print(f"{'all':<24}" + "".join(f"{total:>10,}" for total in totals))

    def print_groups(self, limit: int) -> None:
        """Prints the errors by kind, the most frequent first, then the notes."""
        for title, wanted in (
            ("errors", lambda name: name != "note"),
            ("notes, which are no errors", lambda name: name == "note"),
        ):
            groups = [(key, group) for key, group in self.groups.items() if wanted(key[0])]
            if not groups:
                continue
            print(f"\n{title}: {sum(group.count for _, group in groups):,} of {len(groups):,} kinds")
            groups.sort(key=lambda entry: (-entry[1].count, entry[0]))
            for (validator, resource_type, _), group in groups[:limit]:
                print(f"  {group.count:,} × {validator}: {resource_type or '?'}")
                # A note is one of a kind; of errors, several may differ in what matters.
                for finding in group.examples[: 1 if validator == "note" else EXAMPLES]:
                    place = (
                        f"{finding.resource_type}/{finding.resource_id}, {finding.position[0]}:{finding.position[1]}"
                    )
                    print(f"      {finding.path or '-'}: {' '.join(finding.message.split())[:300]}   ({place})")
            if len(groups) > limit:
                print(f"  … and {len(groups) - limit:,} more kinds")
