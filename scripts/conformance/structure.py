"""Checks of a line that need no profile: JSON, ids, references, times, strings, narrative."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from datetime import date

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
INSTANT = re.compile(
    r"[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"(Z|[+-](0\d|1[0-3]):[0-5]\d|[+-]14:00)"
)
RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})")
DAY = re.compile(r"(\d{4})-(\d\d)-(\d\d)(T\d\d:\d\d.*)?")
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
XHTML = "{http://www.w3.org/1999/xhtml}"
# The elements of XHTML that a narrative may have (FHIR R4, Narrative).
NARRATIVE_ELEMENTS = frozenset(
    "a abbr acronym address b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr"
    " i img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var".split()
)


@dataclass
class Line:
    """What one line gave: its identity, what it refers to and what is wrong with it."""

    resource_type: str = ""
    id: str = ""
    last_updated: str | None = None
    profiles: list[str] = field(default_factory=list)
    references: list[tuple[str, str]] = field(default_factory=list)
    """(path, reference) of the references to other resources."""
    findings: list[tuple[str, str]] = field(default_factory=list)
    """(path, message)"""


def check(raw: bytes, us_core: str, published: dict[str, str]) -> Line:
    """Checks one line. `published` has the resource type of each profile of US Core by its URL."""
    line = Line()
    if b"\r" in raw:
        line.findings.append(("", "has a carriage return outside of strings"))
    resource = _parse(raw, line)
    if resource is None:
        return line
    line.resource_type = str(resource.get("resourceType", ""))
    line.id = str(resource.get("id", ""))
    if not isinstance(resource.get("resourceType"), str):
        line.findings.append(("resourceType", "is missing"))
    if not isinstance(resource.get("id"), str) or not ID.fullmatch(resource["id"]):
        line.findings.append(("id", f"is not a legal id: {resource.get('id')!r}"))
    _check_meta(resource, line, us_core, published)
    contained = {inner.get("id") for inner in resource.get("contained", []) if isinstance(inner, dict)}
    _walk(resource, line.resource_type, line, contained)
    return line


def _parse(raw: bytes, line: Line) -> dict | None:
    def number(text: str) -> float:
        if "e" in text or "E" in text:
            line.findings.append(("", f"number in exponent form: {text}"))
        return float(text)

    def members(pairs: list[tuple[str, object]]) -> dict:
        result = dict(pairs)
        if len(result) != len(pairs):
            names = [name for name, _ in pairs]
            line.findings.append(("", f"member occurs twice: {next(n for n in names if names.count(n) > 1)}"))
        return result

    def constant(text: str) -> float:
        line.findings.append(("", f"{text} is not JSON"))
        return 0.0

    try:
        resource = json.loads(
            raw.decode("utf-8"), parse_float=number, object_pairs_hook=members, parse_constant=constant
        )
    except ValueError as error:
        line.findings.append(("", f"is not JSON in UTF-8: {error}"))
        return None
    if not isinstance(resource, dict):
        line.findings.append(("", "is not a JSON object"))
        return None
    return resource


def _check_meta(resource: dict, line: Line, us_core: str, published: dict[str, str]) -> None:
    meta = resource.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    updated = meta.get("lastUpdated")
    if updated is None:
        line.findings.append(("meta.lastUpdated", "is missing"))
    elif not isinstance(updated, str) or not INSTANT.fullmatch(updated):
        line.findings.append(("meta.lastUpdated", f"is not an instant: {updated!r}"))
    else:
        line.last_updated = updated
    profiles = meta.get("profile", [])
    for profile in profiles if isinstance(profiles, list) else []:
        url, _, version = str(profile).partition("|")
        if url not in published:
            line.findings.append(("meta.profile", f"is no profile of US Core {us_core}: {profile}"))
        elif version != us_core:
            line.findings.append(("meta.profile", f"is not of version {us_core}: {profile}"))
        elif published[url] != line.resource_type:
            line.findings.append(("meta.profile", f"is a profile of {published[url]}: {profile}"))
        line.profiles.append(url)
    # Types that US Core has no profile of (Endpoint, Media, …) are held against base R4 alone.
    if not line.profiles and line.resource_type in published.values():
        line.findings.append(("meta.profile", "is missing"))


def _walk(value: object, path: str, line: Line, contained: set) -> None:
    if isinstance(value, dict):
        if not value:
            line.findings.append((path, "is {}"))
        for name, inner in value.items():
            if name == "reference" and isinstance(inner, str) and not path.endswith("Immunization.education"):
                _check_reference(inner, f"{path}.reference", line, contained)
            if name == "div" and isinstance(inner, str):
                _check_narrative(inner, f"{path}.div", line)
            _walk(inner, f"{path}.{name}", line, contained)
    elif isinstance(value, list):
        if not value:
            line.findings.append((path, "is []"))
        nulls_allowed = path.rpartition(".")[2].startswith("_")
        for inner in value:
            # Beside an array of primitives, null marks those that have no extension.
            if not (inner is None and nulls_allowed):
                _walk(inner, path, line, contained)
    elif isinstance(value, str):
        if value == "":
            line.findings.append((path, 'is ""'))
        elif value != value.strip():
            line.findings.append((path, f"begins or ends with blanks: {value[:40]!r}"))
        elif (day := DAY.fullmatch(value)) and not _is_day(*map(int, day.group(1, 2, 3))):
            line.findings.append((path, f"is no day of the calendar: {value!r}"))
        if FORBIDDEN.search(value):
            line.findings.append((path, f"has a character that FHIR forbids: {value[:40]!r}"))
    elif value is None:
        line.findings.append((path, "is null"))


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _check_reference(reference: str, path: str, line: Line, contained: set) -> None:
    if reference.startswith("#"):
        if reference != "#" and reference[1:] not in contained:
            line.findings.append((path, f"refers to nothing that is contained: {reference}"))
    elif RELATIVE.fullmatch(reference):
        line.references.append((path, reference))
    else:
        line.findings.append((path, f"is not of the form Type/id: {reference}"))


def _check_narrative(div: str, path: str, line: Line) -> None:
    try:
        root = ElementTree.fromstring(div)
    except ElementTree.ParseError as error:
        line.findings.append((path, f"is not well-formed: {error}"))
        return
    if root.tag != f"{XHTML}div":
        line.findings.append((path, f"is not a div of XHTML: {root.tag}"))
    if not "".join(root.itertext()).strip() and root.find(f".//{XHTML}img") is None:
        line.findings.append((path, "has no text"))
    for element in root.iter():
        if element.tag.removeprefix(XHTML) not in NARRATIVE_ELEMENTS:
            line.findings.append((path, f"may not have the element {element.tag}"))
        for name in element.attrib:
            if name.lower().startswith("on"):
                line.findings.append((path, f"may not have the attribute {name}"))
