"""Seeds faults into valid resources and asks whether the conformance run finds each of them.

A fault is made in a copy of a valid resource that gets an id of its own, so that all faults go through one run and what
is found can be told apart. For each fault the validators that have to find it are named.
"""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
NPI = "http://hl7.org/fhir/sid/us-npi"

Resource = dict
VALID: list[Resource] = [
    json.loads(line) for line in (HERE / "testdata/valid.ndjson").read_text(encoding="utf-8").splitlines()
]


@dataclass
class Fault:
    name: str
    of: str
    """The valid resource it is made in."""
    found_by: set[str]
    change: Callable[[Resource], object]
    """Changes the resource; a Line that it returns stands for it."""


class Line(str):
    """A line that json.dumps would not write."""


def replaced(resource: Resource, before: str, after: str) -> Line:
    line = json.dumps(resource)
    assert before in line, before
    return Line(line.replace(before, after, 1))


def entered_in_error(resource: Resource, system: str) -> None:
    resource["verificationStatus"] = {
        "coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": "entered-in-error"}]
    }


EVERY_VALIDATOR = {"medplum", "fhir", "fhirkit", "profile"}
FAULTS = [
    # What base R4 forbids
    Fault(
        "a member that FHIR does not know",
        "Patient/example",
        {"medplum", "fhir", "fhirkit"},
        lambda r: r.update(nickname="Amy"),
    ),
    Fault(
        "one value where a list belongs",
        "Patient/example",
        {"medplum", "fhir", "fhirkit"},
        lambda r: r.update(name=r["name"][0]),
    ),
    Fault(
        "a number written as a string",
        "Observation/height",
        {"medplum", "fhir", "fhirkit"},
        lambda r: r["valueQuantity"].update(value="66.9"),
    ),
    Fault(
        "two types of one value", "Observation/height", {"medplum", "fhirkit"}, lambda r: r.update(valueString="tall")
    ),
    Fault("a required element is missing", "Observation/serum-glucose", EVERY_VALIDATOR, lambda r: r.pop("status")),
    Fault("a status that is none", "Encounter/example-1", {"fhir", "profile"}, lambda r: r.update(status="done")),
    Fault("a day that is none", "Patient/example", {"structure"}, lambda r: r.update(birthDate="1987-02-30")),
    Fault("a month that is none", "Patient/example", {"medplum", "fhirkit"}, lambda r: r.update(birthDate="1987-13")),
    Fault(
        "a dateTime without zone",
        "Encounter/example-1",
        {"fhirkit"},
        lambda r: r["period"].update(start="2015-11-01T17:00:14"),
    ),
    Fault("an empty string", "Patient/example", {"fhirkit", "structure"}, lambda r: r["name"][0].update(family="")),
    Fault("an empty list", "Patient/example", {"fhirkit", "structure"}, lambda r: r.update(telecom=[])),
    Fault("an empty object", "Encounter/example-1", {"structure"}, lambda r: r.update(period={})),
    Fault("a null", "Patient/example", {"medplum", "structure"}, lambda r: r.update(birthDate=None)),
    Fault("blanks around a string", "Patient/example", {"structure"}, lambda r: r["name"][0].update(family="Shaw ")),
    Fault(
        "a control character",
        "Patient/example",
        {"medplum", "structure"},
        lambda r: r["name"][0].update(family="Sha\x01w"),
    ),
    Fault(
        "a decimal in exponent form",
        "Observation/height",
        {"structure"},
        lambda r: replaced(r, '"value": 111.506', '"value": 1.11506e2'),
    ),
    Fault(
        "a member twice",
        "Patient/example",
        {"structure"},
        lambda r: replaced(r, '"gender":', '"gender": "male", "gender":'),
    ),
    Fault("an illegal id", "Patient/example", {"medplum", "structure"}, lambda r: r.update(id=r["id"] + "_x")),
    # What US Core forbids
    Fault("no gender", "Patient/example", {"medplum", "profile"}, lambda r: r.pop("gender")),
    Fault(
        "a race that OMB does not have",
        "Patient/example",
        {"profile"},
        lambda r: r["extension"][0]["extension"][0]["valueCoding"].update(code="9999-9"),
    ),
    Fault("race without text", "Patient/example", {"profile"}, lambda r: r["extension"][0]["extension"].pop()),
    Fault(
        "a vital sign without its category",
        "Observation/heart-rate",
        {"medplum", "profile"},
        lambda r: r["category"][0]["coding"][0].update(code="exam"),
    ),
    Fault(
        "a blood pressure without systolic",
        "Observation/blood-pressure",
        {"medplum", "profile"},
        lambda r: r["component"].pop(0),
    ),
    Fault(
        "a height in a wrong unit", "Observation/height", {"profile"}, lambda r: r["valueQuantity"].update(code="ft")
    ),
    Fault(
        "a lab code where a vital sign's belongs",
        "Observation/heart-rate",
        {"medplum", "profile"},
        lambda r: r["code"]["coding"][0].update(code="8310-5"),
    ),
    Fault(
        "a problem in a category that is none",
        "Condition/condition-duodenal-ulcer",
        {"profile"},
        lambda r: r["category"][0]["coding"][0].update(code="encounter-diagnosis"),
    ),
    Fault(
        "a subject that is no patient",
        "Observation/serum-glucose",
        {"profile"},
        lambda r: r["subject"].update(reference="Device/udi-1"),
    ),
    Fault(
        "provenance without agent.who",
        "Provenance/example-targeted-provenance",
        EVERY_VALIDATOR - {"medplum"},
        lambda r: r["agent"][0].pop("who"),
    ),
    Fault(
        "provenance without target",
        "Provenance/example-targeted-provenance",
        EVERY_VALIDATOR,
        lambda r: r.pop("target"),
    ),
    Fault(
        "con-4: abated and active",
        "Condition/encounter-diagnosis-example1",
        {"medplum", "fhirpath"},
        lambda r: r["clinicalStatus"]["coding"][0].update(code="active"),
    ),
    Fault(
        "con-5: entered in error and active",
        "Condition/condition-duodenal-ulcer",
        {"medplum", "fhirpath"},
        lambda r: entered_in_error(r, "condition-ver-status"),
    ),
    Fault(
        "ait-1: no clinical status",
        "AllergyIntolerance/example",
        {"medplum", "fhirpath"},
        lambda r: r.pop("clinicalStatus"),
    ),
    Fault(
        "ait-2: entered in error and active",
        "AllergyIntolerance/example",
        {"medplum", "fhirpath"},
        lambda r: entered_in_error(r, "allergyintolerance-verification"),
    ),
    Fault(
        "us-core-1: a dateTime of a year",
        "Observation/serum-glucose",
        {"fhirpath"},
        lambda r: r.update(effectiveDateTime="2005"),
    ),
    Fault(
        "us-core-2: no value", "Observation/serum-glucose", {"medplum", "fhirpath"}, lambda r: r.pop("valueQuantity")
    ),
    Fault(
        "us-core-6: a name without names",
        "Patient/example",
        {"fhirpath"},
        lambda r: r.update(name=[{"use": "official"}]),
    ),
    Fault(
        "us-core-6: neither url nor data",
        "DocumentReference/episode-summary",
        {"fhirpath"},
        lambda r: r["content"][0]["attachment"].pop("url"),
    ),
    Fault(
        "us-core-7: completed, but when",
        "Procedure/rehab",
        {"medplum", "fhirpath"},
        lambda r: r.pop("performedDateTime"),
    ),
    Fault(
        "us-core-8: no effective time",
        "DiagnosticReport/metabolic-panel",
        {"medplum", "fhirpath"},
        lambda r: r.pop("effectiveDateTime"),
    ),
    Fault(
        "us-core-9: no issued time",
        "DiagnosticReport/metabolic-panel",
        {"medplum", "fhirpath"},
        lambda r: r.pop("issued"),
    ),
    Fault(
        "us-core-13: the role of nobody",
        "PractitionerRole/role-1",
        {"fhirpath"},
        lambda r: (r.pop("practitioner"), r.pop("organization")),
    ),
    Fault(
        "us-core-16: an NPI of nine digits",
        "Organization/saint-luke-w-endpoint",
        {"fhirpath"},
        lambda r: r["identifier"][0].update(system=NPI, value="106349417"),
    ),
    Fault(
        "us-core-17: an NPI with a wrong check digit",
        "Practitioner/practitioner-1",
        {"fhirpath"},
        lambda r: r["identifier"][0].update(system=NPI, value="9941339101"),
    ),
    Fault(
        "us-core-20: dispensed, but when",
        "MedicationDispense/medicationdispense-example",
        {"medplum", "fhirpath"},
        lambda r: r.pop("whenHandedOver"),
    ),
    Fault(
        "us-core-21: an order of nobody",
        "MedicationRequest/medicationrequest-coded-oral-axid",
        {"medplum", "fhirpath"},
        lambda r: r.pop("requester"),
    ),
    Fault(
        "vs-2: a vital sign without value",
        "Observation/heart-rate",
        {"medplum", "fhirpath"},
        lambda r: r.pop("valueQuantity"),
    ),
    Fault(
        "vs-3: a component without value",
        "Observation/blood-pressure",
        {"fhirpath"},
        lambda r: r["component"][0].pop("valueQuantity"),
    ),
    Fault(
        "provenance-1: on behalf of nobody",
        "Provenance/example-targeted-provenance",
        {"fhirpath"},
        lambda r: r["agent"][0].pop("onBehalfOf"),
    ),
    Fault(
        "a narrative that is not well-formed",
        "CarePlan/colonoscopy",
        {"structure"},
        lambda r: r["text"].update(div=r["text"]["div"].replace("</div>", "")),
    ),
    Fault(
        "a narrative with a script",
        "CarePlan/colonoscopy",
        {"structure"},
        lambda r: r["text"].update(div=r["text"]["div"].replace("</div>", "<script>1</script></div>")),
    ),
    # What this export promises
    Fault("no lastUpdated", "Patient/example", {"structure"}, lambda r: r["meta"].pop("lastUpdated")),
    Fault(
        "a lastUpdated that is no instant",
        "Patient/example",
        {"structure"},
        lambda r: r["meta"].update(lastUpdated="2024-03-08"),
    ),
    Fault("another lastUpdated than the source", "Goal/other-time", {"export"}, lambda r: None),
    Fault("no profile", "Patient/example", {"structure"}, lambda r: r["meta"].pop("profile")),
    Fault(
        "a profile of another version",
        "Patient/example",
        {"structure"},
        lambda r: r["meta"].update(profile=[US_CORE + "us-core-patient|3.1.1"]),
    ),
    Fault(
        "a profile that is none",
        "Patient/example",
        {"structure"},
        lambda r: r["meta"].update(profile=[US_CORE + "us-core-person|6.1.0"]),
    ),
    Fault(
        "a profile of another type",
        "Patient/example",
        {"structure"},
        lambda r: r["meta"].update(profile=[US_CORE + "us-core-location|6.1.0"]),
    ),
    Fault(
        "a reference to nothing",
        "Encounter/example-1",
        {"export"},
        lambda r: r["subject"].update(reference="Patient/nobody"),
    ),
    Fault(
        "a lab report with a result that is a vital sign",
        "DiagnosticReport/metabolic-panel",
        {"export"},
        lambda r: r["result"][0].update(reference="Observation/heart-rate"),
    ),
    Fault(
        "an absolute reference",
        "Encounter/example-1",
        {"structure"},
        lambda r: r["subject"].update(reference="https://ehr.example/Patient/example"),
    ),
    Fault("a resource twice", "Immunization/imm-1", {"export"}, lambda r: r.update(id="imm-1")),
    Fault("a resource in the file of another type", "Specimen/specimen-example-serum", {"export"}, lambda r: None),
]
GOAL = {
    "resourceType": "Goal",
    "id": "other-time",
    "meta": {"lastUpdated": "2024-03-08T14:05:09.123Z", "profile": [US_CORE + "us-core-goal|6.1.0"]},
    "lifecycleStatus": "active",
    "description": {"text": "Walk for half an hour each day"},
    "subject": {"reference": "Patient/example"},
}


class Export:
    """A folder of NDJSON, one file per type."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.lines: dict[str, list[str]] = defaultdict(list)

    def add(self, file: str, line: str) -> None:
        self.lines[file].append(line)

    def validate(self, installed: str, *options: str) -> tuple[int, str, list[dict]]:
        """(status, standard output, findings)"""
        for file, lines in self.lines.items():
            (self.folder / f"{file}.ndjson").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        log = self.folder.with_suffix(".findings")
        command = [
            sys.executable,
            "-B",
            HERE / "conformance.py",
            "--installed",
            installed,
            "--ndjson",
            self.folder,
            "--errors-out",
            log,
            *options,
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        findings = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
        return done.returncode, done.stdout, [finding for finding in findings if finding["validator"] != "note"]


def check_valid(folder: Path, installed: str) -> list[str]:
    """Valid resources give no error, and what they have and lack shows in the coverage."""
    export = Export(folder / "valid")
    for resource in VALID:
        export.add(resource["resourceType"], json.dumps(resource))
    page = folder / "coverage.md"
    status, output, findings = export.validate(installed, "--coverage-out", str(page))
    wrong = [f"valid: {finding['path']}: {finding['message']}" for finding in findings]
    written = page.read_text(encoding="utf-8") if page.exists() else output
    for line in (
        "| us-core-goal | no resource of this profile |",
        "| us-core-procedure | `Procedure.basedOn` |",
        "| `Patient.extension:race.extension:ombCategory` | must support | 1 |  |",
        "| `Provenance.agent:ProvenanceTransmitter` | must support | 1 |  |",
        "| `Observation.component:systolic.value[x].code` | must support | 1 |  |",
    ):
        if line not in written:
            wrong.append(f"coverage lacks the line {line}")
    if status != 1:
        wrong.append(f"coverage holes gave the status {status}, expected 1")
    status, output, _ = export.validate(installed, "--no-coverage")
    last = f"conformance: {len(VALID)} resources, 0 errors, coverage not checked (US Core 6.1.0)"
    if status != 0 or output.splitlines()[-1:] != [last]:
        wrong.append(f"valid resources gave the status {status}")
    return wrong


def check_faults(folder: Path, installed: str) -> list[str]:
    """Each fault is found by all validators that it names."""
    export = Export(folder / "faults")
    by_name = {f"{resource['resourceType']}/{resource['id']}": resource for resource in [*VALID, GOAL]}
    for resource in VALID:
        export.add(resource["resourceType"], json.dumps(resource))
    place: dict[tuple[str, int], Fault] = {}
    for number, fault in enumerate(FAULTS, start=1):
        resource = json.loads(json.dumps(by_name[fault.of]))
        if fault.of != "Goal/other-time":
            resource["id"] = f"fault-{number}"
        changed = fault.change(resource)
        file = "Location" if fault.name == "a resource in the file of another type" else resource["resourceType"]
        export.add(file, changed if isinstance(changed, Line) else json.dumps(resource))
        place[f"{file}.ndjson", len(export.lines[file])] = fault
    export.add("Goal", "{")
    place["Goal.ndjson", len(export.lines["Goal"])] = Fault(
        "a line that is not JSON", "", {"structure"}, lambda r: None
    )
    sources = folder / "sources.tsv"
    sources.write_text(
        "type\tid\tlast_updated\nGoal\tother-time\t2024-03-08T14:05:09.124Z\nGoal\tlost\t2024-03-08T14:05:09.123Z\n"
    )
    place["sources.tsv", 3] = Fault("a row of the source that is not exported", "", {"export"}, lambda r: None)
    status, _, findings = export.validate(installed, "--sources", str(sources), "--no-coverage")

    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for finding in findings:
        found[tuple(finding["position"])].add(finding["validator"])
    wrong = [] if status == 1 else [f"faults gave the status {status}, expected 1"]
    for position, fault in place.items():
        missing = sorted(fault.found_by - found[position])
        print(f"  {'MISSED' if missing else 'found '}  {fault.name:<46} {', '.join(sorted(found[position])) or '-'}")
        if missing:
            wrong.append(f"{fault.name}: not found by {', '.join(missing)}")
    wrong += [
        f"a valid resource has an error: {finding}" for finding in findings if tuple(finding["position"]) not in place
    ]
    return wrong


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        wrong = check_valid(Path(folder), sys.argv[1])
        wrong += check_faults(Path(folder), sys.argv[1])
    for line in wrong:
        print(f"wrong: {line}")
    print(f"selftest: {len(FAULTS) + 2} faults, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
