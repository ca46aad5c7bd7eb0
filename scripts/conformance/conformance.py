"""Validates an export: every resource against its US Core profiles, and the export as a whole.

Lines go in batches to worker processes. Each of them holds one Node process with the published JavaScript
validators, and checks the same lines itself meanwhile. What concerns more than one resource (unique ids, references,
the source's times, coverage) is put together here at the end.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import fhirkit

import structure
from coverage import Coverage, read_exclusions
from findings import Finding, Findings

HERE = Path(__file__).resolve().parent
BATCH = 400
GROUPS_SHOWN = 100


@dataclass
class Outcome:
    """What one batch gave."""

    findings: list[Finding] = field(default_factory=list)
    lines: list[tuple[tuple, str, str, str | None, list[str]]] = field(default_factory=list)
    """(position, type, id, lastUpdated, profiles) of each resource."""
    references: dict[str, tuple] = field(default_factory=dict)
    """For each target the first reference to it: (position, type, id, path, how many refer to it)."""
    targets: dict[tuple[str, tuple[str, ...]], tuple] = field(default_factory=dict)
    """The same for each target that has to be of one of some profiles."""
    coverage: tuple = ({}, {}, [])


def note_first(entries: dict, key: object, entry: tuple) -> None:
    """Keeps the entry that comes first in the export, and adds up their counts."""
    known = entries.get(key)
    entries[key] = (*min(known, entry)[:4], known[4] + entry[4]) if known else entry


class Worker:
    """One process of the pool, with its Node process."""

    instance: "Worker"

    def __init__(self, command: list[str], us_core: str, published: dict[str, str]) -> None:
        self.us_core, self.published = us_core, published
        self.node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._read()

    def _read(self) -> dict:
        line = self.node.stdout.readline()
        if not line:
            raise RuntimeError(f"the validators in Node ended with status {self.node.wait()}")
        return json.loads(line)

    def validate(self, file: str, first: int, lines: list[bytes]) -> Outcome:
        outcome = Outcome()
        checked = [structure.check(raw, self.us_core, self.published) for raw in lines]
        # Node and fhirkit get what is JSON at all; the rest is already reported.
        sound = [index for index, line in enumerate(checked) if line.resource_type]
        if sound:
            self.node.stdin.write(b"%d\n" % len(sound) + b"".join(lines[index] + b"\n" for index in sound))
            self.node.stdin.flush()
        for index, line in enumerate(checked):
            position = (file, first + index)
            outcome.lines.append((position, line.resource_type, line.id, line.last_updated, line.profiles))
            self._report(outcome, position, line, "structure", line.findings)
            for path, reference in line.references:
                note_first(outcome.references, reference, (position, line.resource_type, line.id, path, 1))
        for index, issues in zip(sound, self._fhirkit([lines[index] for index in sound]), strict=True):
            self._report(outcome, (file, first + index), checked[index], "fhirkit", issues)
        if sound:
            answer = self._read()
            for number, validator, path, message in answer["issues"]:
                index = sound[number]
                self._report(outcome, (file, first + index), checked[index], validator, [(path, message)])
            for number, path, reference, profiles in answer["targets"]:
                line = checked[sound[number]]
                entry = ((file, first + sound[number]), line.resource_type, line.id, path, 1)
                note_first(outcome.targets, (reference, tuple(profiles)), entry)
            outcome.coverage = (answer["profiles"], answer["rows"], answer["pending"])
        return outcome

    @staticmethod
    def _report(
        outcome: Outcome, position: tuple, line: structure.Line, validator: str, issues: list[tuple[str, str]]
    ) -> None:
        for path, message in issues:
            outcome.findings.append(Finding(position, line.resource_type, line.id, path, message, validator))

    @staticmethod
    def _fhirkit(lines: list[bytes]) -> list[list[tuple[str, str]]]:
        def issues(resource: fhirkit.Resource) -> list[tuple[str, str]]:
            return [(issue.path, issue.message) for issue in resource.issues if issue.severity == "error"]

        try:
            return [issues(resource) for resource in fhirkit.parse_many(lines, threads=1)]
        except (fhirkit.ParseError, fhirkit.ValidationError):
            pass
        result = []  # one of them cannot be read: take them one by one
        for line in lines:
            try:
                result.append(issues(fhirkit.parse(line)))
            except (fhirkit.ParseError, fhirkit.ValidationError) as error:
                result.append([("", str(error))])
        return result


def start_worker(*arguments: object) -> None:
    Worker.instance = Worker(*arguments)


def validate(file: str, first: int, lines: list[bytes]) -> Outcome:
    return Worker.instance.validate(file, first, lines)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.name.endswith((".ndjson", ".ndjson.gz")))


def batches(folder: Path, findings: Findings) -> Iterator[tuple[str, int, list[bytes]]]:
    """(file, number of the first line, lines), in the order of files and lines."""
    for path in files_of(folder):
        name = str(path.relative_to(folder))
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            lines: list[bytes] = []
            number = 0
            for number, line in enumerate(stream, start=1):
                if not line.endswith(b"\n"):
                    findings.add(Finding((name, number), "", "", "", "the last line has no line feed", "export"))
                lines.append(line.removesuffix(b"\n"))
                if len(lines) == BATCH:
                    yield name, number - len(lines) + 1, lines
                    lines = []
            if lines:
                yield name, number - len(lines) + 1, lines


class Run:
    """One run: the totals, and the checks of the export as a whole."""

    def __init__(self, coverage: Coverage, findings: Findings) -> None:
        self.findings = findings
        self.coverage = coverage
        self.counts: Counter = Counter()
        self.resources: dict[tuple[str, str], tuple[tuple, str | None, list[str]]] = {}
        self.types_of_file: dict[str, dict[str, tuple]] = {}
        """Per file the types in it, with the first line of each."""
        self.references: dict[str, tuple] = {}
        self.targets: dict[tuple[str, tuple[str, ...]], tuple] = {}

    def add(self, outcome: Outcome) -> None:
        for finding in outcome.findings:
            self.findings.add(finding)
        self.coverage.add(*outcome.coverage)
        for position, resource_type, resource_id, last_updated, profiles in outcome.lines:
            self.counts[resource_type] += 1
            if not resource_type:
                continue  # no JSON object: reported, and of no type
            types = self.types_of_file.setdefault(position[0], {})
            types[resource_type] = min(types.get(resource_type, position), position)
            key = (resource_type, resource_id)
            entry = (position, last_updated, profiles)
            if key in self.resources:
                entry, (again, _, _) = sorted([entry, self.resources[key]], key=lambda each: each[0])
                self._error(key, again, "id", "was the id of an earlier line")
            self.resources[key] = entry
        for reference, entry in outcome.references.items():
            note_first(self.references, reference, entry)
        for key, entry in outcome.targets.items():
            note_first(self.targets, key, entry)

    def _error(self, key: tuple[str, str], position: tuple, path: str, message: str) -> None:
        self.findings.add(Finding(position, *key, path, message, "export"))

    def finish(self, sources: Path | None) -> None:
        for types in self.types_of_file.values():
            (first, _), *others = sorted(types.items(), key=lambda entry: entry[1])
            for resource_type, position in others:
                self._error((resource_type, ""), position, "", f"is in a file of {first}")
        for reference, (position, resource_type, resource_id, path, count) in self.references.items():
            if tuple(reference.split("/")) not in self.resources:
                times = f" ({count} references)" if count > 1 else ""
                self._error((resource_type, resource_id), position, path, f"{reference} is not in the export{times}")
        for (reference, wanted), (position, resource_type, resource_id, path, _) in self.targets.items():
            target = self.resources.get(tuple(reference.split("/")))
            if target and not any(self.coverage.is_based_on(profile, wanted) for profile in target[2]):
                names = " or ".join(url.split("/")[-1] for url in wanted)
                self._error((resource_type, resource_id), position, path, f"{reference} is not of the profile {names}")
        self.coverage.resolve({key: profiles for key, (_, _, profiles) in self.resources.items()})
        if sources:
            self._compare(sources)

    def _compare(self, sources: Path) -> None:
        """Compares lastUpdated with the source's column; every row of the source has to be there."""
        times = {}
        for number, line in enumerate(sources.read_text(encoding="utf-8").splitlines(), start=1):
            if number == 1 and line.startswith("type\tid\t"):
                continue
            try:
                resource_type, resource_id, last_updated = line.split("\t")
                time_of_source = datetime.fromisoformat(last_updated)
            except ValueError as error:
                raise SystemExit(f"{sources}:{number}: expected type, id and last_updated: {error}") from error
            key = (resource_type, resource_id)
            times[key] = time_of_source
            if key not in self.resources:
                self._error(key, (sources.name, number), "", "is in the source and not in the export")
        types = {resource_type for resource_type, _ in times}
        for key, (position, last_updated, _) in self.resources.items():
            if key not in times:
                if key[0] in types:
                    self._error(key, position, "id", "is in the export and not in the source")
            elif last_updated and datetime.fromisoformat(last_updated) != times[key]:
                message = f"is {last_updated}, and {times[key].isoformat()} in the source"
                self._error(key, position, "meta.lastUpdated", message)


class Progress:
    """A line on standard error, at most every second on a terminal, every ten seconds elsewhere."""

    def __init__(self) -> None:
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def show(self, resources: int, errors: int, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self.shown < (1 if self.terminal else 10):
            return
        self.shown = now
        text = f"validated {resources:,} resources in {now - self.started:.0f} s, {errors:,} errors"
        if self.terminal:
            print(f"\r{text}", end="\n" if last else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def run(options: argparse.Namespace) -> int:
    if not files_of(options.ndjson):
        raise SystemExit(f"{options.ndjson} has no .ndjson or .ndjson.gz file")
    package = options.installed / f"hl7.fhir.us.core-{options.us_core}" / "package"
    command = [
        "node",
        "--max-old-space-size=2048",
        str(HERE / "validators/worker.mjs"),
        str(options.installed / "node"),
        str(package),
    ]
    described = subprocess.run([*command, "--describe"], check=True, capture_output=True)
    description = json.loads(described.stdout)
    published = {profile["url"]: profile["type"] for profile in description}
    log = options.errors_out.open("w", encoding="utf-8") if options.errors_out else None
    result = Run(Coverage(description, read_exclusions(options.exclusions), options.us_core), Findings(log))
    progress = Progress()
    jobs = options.jobs or os.cpu_count() or 2
    with ProcessPoolExecutor(jobs, initializer=start_worker, initargs=(command, options.us_core, published)) as pool:
        running = set()
        for batch in batches(options.ndjson, result.findings):
            running.add(pool.submit(validate, *batch))
            if len(running) > 2 * jobs:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    result.add(future.result())
                progress.show(sum(result.counts.values()), result.findings.errors())
        for future in running:
            result.add(future.result())
    result.finish(options.sources)
    if log:
        log.close()
    progress.show(sum(result.counts.values()), result.findings.errors(), last=True)
    return report(result, options)


def report(result: Run, options: argparse.Namespace) -> int:
    coverage, findings = result.coverage, result.findings
    resources = sum(result.counts.values())
    holes = coverage.holes() if options.coverage else []
    if options.coverage_out:
        options.coverage_out.write_text(coverage.page(resources), encoding="utf-8")
    findings.print_table(result.counts)
    findings.print_groups(GROUPS_SHOWN)
    if options.coverage:
        remarks = [remark for _, rows in coverage.table() for _, _, remark in rows]
        excluded = remarks.count("excluded")
        print(
            f"\nmust-support coverage: {len(remarks)} elements, {len(coverage.profiles)} profiles, {excluded} excluded"
        )
        for name, element in holes:
            print(f"  hole: {name}: {element}")
        for entry in coverage.unneeded():
            print(f"  this exclusion is not needed: {entry['profile']}: {entry['element']}")
    errors = findings.errors()
    sys.stderr.flush()
    covered = f"{len(holes)} coverage holes" if options.coverage else "coverage not checked"
    print(f"\nconformance: {resources} resources, {errors} errors, {covered} (US Core {options.us_core})", flush=True)
    return 1 if errors or holes else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/conformance/run", description="Validate a folder of NDJSON against US Core."
    )
    parser.add_argument(
        "--ndjson", type=Path, required=True, metavar="DIR", help="folder with .ndjson or .ndjson.gz files"
    )
    parser.add_argument(
        "--us-core", choices=["6.1.0", "7.0.0"], default="6.1.0", help="version of US Core (%(default)s)"
    )
    parser.add_argument(
        "--sources",
        type=Path,
        metavar="FILE",
        help="tab separated: type, id, last_updated; compared with meta.lastUpdated",
    )
    parser.add_argument("--coverage-out", type=Path, metavar="FILE", help="write the must-support coverage as a page")
    parser.add_argument("--errors-out", type=Path, metavar="FILE", help="write every finding as a line of JSON")
    parser.add_argument(
        "--no-coverage", dest="coverage", action="store_false", help="do not ask for must-support coverage"
    )
    parser.add_argument(
        "--exclusions", type=Path, default=HERE / "exclusions.json", metavar="FILE", help="elements that cannot occur"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="worker processes (one per core)")
    parser.add_argument("--installed", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.ndjson.is_dir():
        parser.error(f"{options.ndjson} is not a folder")
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
