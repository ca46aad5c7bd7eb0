"""Checks the Kubernetes manifests; see README.md beside this file."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import custom
import pods
import rules  # noqa: F401  (fills the list of rules)
from rendered import DEPLOY, HERE, RENDERINGS, ROOT, Rendered, render
from rule import RULES, problems, selftest
from rules.monitoring import prometheus_rule

# The oldest version with all that is used (the kubelet's own sleep is in 1.30), and the newest that schemas are there for.
VERSIONS = ["1.30", "1.37"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/manifests/run")
    parser.add_argument("--installed", type=Path, required=True, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("alerts", help="write the PrometheusRule anew from deploy/observability")
    one = commands.add_parser("pods", help="print what runs in the pods of an overlay, as JSON")
    one.add_argument("overlay", choices=sorted(RENDERINGS))
    arguments = parser.parse_args()
    if arguments.command == "alerts":
        (DEPLOY / "components" / "prometheus" / "rules.yaml").write_text(prometheus_rule())
        return 0
    if arguments.command == "pods":
        text = render(arguments.installed, RENDERINGS[arguments.overlay])
        print(json.dumps(pods.pods(Rendered.read(arguments.overlay, text))))
        return 0
    return check(arguments.installed)


def check(installed: Path) -> int:
    folder = installed / "rendered"
    folder.mkdir(exist_ok=True)
    rendered = {}
    for name, overlay in RENDERINGS.items():
        text = render(installed, overlay)
        (folder / f"{name}.yaml").write_text(text)
        rendered[name] = Rendered.read(name, text)
        kinds = len({one["kind"] for one in rendered[name].objects})
        print(f"rendered  {name}: {len(rendered[name].objects)} objects of {kinds} kinds")
    found = components_are_rendered()
    for stage in (schemas, custom_resources, checkov, own_rules):
        found += stage(installed, folder, rendered)
    for problem in found:
        print(f"WRONG     {problem}")
    print("manifests: FAILED" if found else "manifests: all well")
    return 1 if found else 0


def components_are_rendered() -> list[str]:
    """Every component is in some rendering, or nobody has ever looked at it."""
    used = "".join((folder / "kustomization.yaml").read_text() for folder in RENDERINGS.values())
    names = sorted(folder.name for folder in (DEPLOY / "components").iterdir())
    return [f"components/{name} is in no rendering" for name in names if not re.search(rf"components/{name}$", used, re.M)]


def schemas(installed: Path, folder: Path, rendered: dict[str, Rendered]) -> list[str]:
    """The API server's own schemas, strictly: an unknown field is an error."""
    found = []
    for version in VERSIONS:
        for name, one in rendered.items():
            file = folder / f"{name}.yaml"
            command = [installed / "venv" / "bin" / "kubernetes-validate", "--strict", "-k", version, file]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line and " passed" not in line]
            # It only warns of kinds that it does not know. Custom ones have schemas of ours; others must not be there.
            kinds = {item["kind"] for item in one.objects if custom.is_custom(item)}
            skipped = [l for l in lines if (kind := re.search(r"find schema for kind (\S+)", l)) and kind[1] in kinds]
            wrong = [line for line in lines if line not in skipped]
            if done.returncode != 0 and not wrong:
                wrong = [f"ended with {done.returncode}"]
            found += [f"{name}, Kubernetes {version}: {line}" for line in wrong]
    print(f"schemas   Kubernetes {' and '.join(VERSIONS)}, strictly")
    return found


def custom_resources(_installed: Path, _folder: Path, rendered: dict[str, Rendered]) -> list[str]:
    """Custom resources by the schemas beside this file."""
    found = [f"{name}: {problem}" for name, one in rendered.items() for problem in custom.problems(one)]
    kinds = {item["kind"] for one in rendered.values() for item in one.objects if custom.is_custom(item)}
    print(f"schemas   custom resources: {', '.join(sorted(kinds))}")
    # A misspelt field must be noticed.
    for kind in sorted(kinds):
        broken = next(i for one in rendered.values() for i in one.objects if i["kind"] == kind and custom.is_custom(i))
        broken = {**broken, "spec": {**broken["spec"], "speling": 1}}
        if not list(custom.problems(Rendered("broken", [broken]))):
            found.append(f"the schema of {kind} is open")
    return found


def checkov(installed: Path, folder: Path, _rendered: dict[str, Rendered]) -> list[str]:
    """checkov's rules for Kubernetes; what is left out stands with reasons in checkov.yaml."""
    command = [installed / "venv" / "bin" / "checkov", "--config-file", HERE / "checkov.yaml"]
    command += ["--directory", folder, "--output", "json"]
    # It must ask nobody outside, and find no configuration but ours.
    environment = {**os.environ, "BC_SKIP_MAPPING": "TRUE", "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    try:
        report = json.loads(done.stdout)
        summary, failed = report["summary"], report["results"]["failed_checks"]
    except (ValueError, LookupError, TypeError):
        return [f"checkov ended with {done.returncode}:\n{(done.stdout + done.stderr).strip()[-2000:]}"]
    print(f"checkov   {summary['passed']} passed, {summary['failed']} failed, {summary['skipped']} left out by annotation")
    found = [f"checkov {one['check_id']} {one['check_name']}: {one['file_path']} {one['resource']}" for one in failed]
    if not summary["passed"] or summary["parsing_errors"]:
        found.append(f"checkov has looked at nothing, or could not read it: {summary}")
    return found


def own_rules(_installed: Path, _folder: Path, rendered: dict[str, Rendered]) -> list[str]:
    """Our rules, and whether each notices what it is for."""
    found, damages = [], 0
    for rule in RULES:
        objections = [f"{name}: {text}" for name, one in rendered.items() for text in problems(rule, one)]
        objections += [f"self-test: {text}" for text in selftest(rule, rendered[rule.at])]
        if objections:
            found.append("\n          ".join([rule.sentence, *objections]))
        damages += len(rule.damages)
    print(f"rules     {len(RULES)} rules on {len(rendered)} renderings; each noticed what was broken for it, {damages} times")
    return found


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
