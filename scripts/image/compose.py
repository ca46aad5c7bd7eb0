"""What must hold of deploy/docker/compose.yaml, and can be seen without an engine. Prints what does not hold, and ends with
1 then."""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/docker"
# Services that cannot run like the others, with why.
WRITES_ITS_ROOT = {"postgres": "the image's entry point begins as root and changes to the user postgres"}


def options():
    """The names of all options as variables of the environment."""

    def walk(table, path):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from walk(value, [*path, key])
            else:
                yield "HEADGATE__" + "__".join([*path, key]).upper()

    return set(walk(tomllib.loads((ROOT / "config/default.toml").read_text()), []))


def made_secrets():
    """The files that the script `secrets` makes: it is run, with programs beside it that do nothing."""
    with tempfile.TemporaryDirectory() as folder:
        secrets, stubs = Path(folder, "secrets"), Path(folder, "bin")
        secrets.mkdir()
        stubs.mkdir()
        for name, body in {"chown": "exit 0", "headgate": 'shift; : >"$2"; : >"$4"'}.items():
            (stubs / name).write_text(f"#!/bin/sh\n{body}\n")
            (stubs / name).chmod(0o755)
        environment = os.environ | {"PATH": f"{stubs}:{os.environ['PATH']}", "SECRETS": str(secrets)}
        subprocess.run(
            ["sh", "-eu", FOLDER / "demo/secrets"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        return {path.name for path in secrets.iterdir()}


def of_images(name, service):
    """Pinned, or built here."""
    image = service.get("image", "")
    if "build" in service:
        target = service["build"]["target"]
        dockerfile = (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).read_text()
        if f" AS {target}\n" not in dockerfile:
            yield f"{name}: the Dockerfile has no target {target}"
    elif not re.fullmatch(r"[a-z.]+(/[a-z-]+)+:v?\d+(\.\d+)+(-[a-z]+)?(@sha256:[0-9a-f]{64})?", image):
        yield f"{name}: the image {image} is not pinned by registry and full version"


def of_base_images():
    """The Dockerfile's, which are arguments, and tagged."""
    dockerfile = (FOLDER / "Dockerfile").read_text()
    images = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", dockerfile, re.MULTILINE))
    for base in re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE):
        image = images.get(base.removeprefix("${").removesuffix("}"), "")
        if not re.search(r":(?!latest)[\w.-]+$", image):
            yield f"Dockerfile: the base image {base} has no tag"


def of_hardening(name, service):
    if name in WRITES_ITS_ROOT:
        return
    if not service.get("read_only"):
        yield f"{name}: its root can be written"
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
        yield f"{name}: capabilities or privileges are left to it"


def of_mounts(name, service, volumes, secrets):
    mounts = service.get("volumes", [])
    for mount in mounts:
        source = mount.split(":")[0]
        if source.startswith("."):
            if not (FOLDER / source).exists():
                yield f"{name}: {source} is not there"
            if not mount.endswith(":ro"):
                yield f"{name}: {source} is of the repository and may be written"
        elif source not in volumes:
            yield f"{name}: there is no volume {source}"
    words = re.findall(r"/secrets/([\w.-]+)", yaml.safe_dump(service))
    if words and not any(mount.startswith("secrets:/secrets") for mount in mounts):
        yield f"{name}: reads secrets, which are not mounted"
    for word in words:
        if word not in secrets:
            yield f"{name}: the script `secrets` does not make {word}"


def of_environment(name, service, known):
    for variable in service.get("environment", {}):
        if variable.startswith("HEADGATE__") and variable not in known:
            yield f"{name}: there is no option {variable}"


def of_commands(name, service):
    for word in service.get("command", []):
        script = re.fullmatch(r"/usr/share/headgate/demo/(.+)", word)
        if script and not (FOLDER / "demo" / script[1]).is_file():
            yield f"{name}: there is no script {script[1]}"


def of_ports(name, service):
    listens = [
        value.rsplit(":", 1)[1] for key, value in service.get("environment", {}).items() if key.endswith("_LISTEN")
    ]
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"{name}: {port} is reached from other machines"
        if listens and port.rsplit(":", 1)[1] not in listens:
            yield f"{name}: nothing listens on {port}"


def of_order(services):
    waits = {name: list(service.get("depends_on", {})) for name, service in services.items()}
    for name, others in waits.items():
        yield from (f"{name}: waits for {other}, which is not there" for other in others if other not in services)
        for other, how in services[name].get("depends_on", {}).items():
            once = services.get(other, {}).get("restart") == "no"
            if once != (how["condition"] == "service_completed_successfully"):
                yield f"{name}: waits for {other} by {how['condition']}"
            if how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                yield f"{name}: waits for the health of {other}, which nothing tells"
    done = set()
    while ready := {name for name in waits if name not in done and set(waits[name]) <= done}:
        done |= ready
    if rest := sorted(set(waits) - done):
        yield f"these wait for each other: {', '.join(rest)}"


def of_scripts(secrets):
    """Files of secrets that the scripts name."""
    for script in sorted((FOLDER / "demo").iterdir()):
        if script.name == "secrets":
            continue
        for word in re.findall(r"\$secrets/([\w.-]+)", script.read_text()):
            if word not in secrets:
                yield f"demo/{script.name}: the script `secrets` does not make {word}"


def of_prometheus(services):
    """Scrape targets are services, and Headgate's are on the port that it listens on."""
    file = ROOT / "deploy/observability/prometheus/prometheus.yaml"
    if not file.exists():
        return
    jobs = yaml.safe_load(file.read_text())["scrape_configs"]
    targets = [t for job in jobs for static in job.get("static_configs", []) for t in static["targets"]]
    targets += [f"{n}:{dns['port']}" for job in jobs for dns in job.get("dns_sd_configs", []) for n in dns["names"]]
    for target in targets:
        host, port = target.split(":")
        listen = services.get(host, {}).get("environment", {}).get("HEADGATE__SERVER__PRIVATE_LISTEN")
        if host != "localhost" and host not in services:
            yield f"prometheus.yaml: there is no service {host}"
        elif listen and not listen.endswith(f":{port}"):
            yield f"prometheus.yaml: {host} does not listen on {port}"


def main():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    services, volumes = compose["services"], compose["volumes"]
    known, secrets = options(), made_secrets()
    wrong = [*of_base_images(), *of_order(services), *of_scripts(secrets), *of_prometheus(services)]
    for name, service in services.items():
        wrong += of_images(name, service)
        wrong += of_hardening(name, service)
        wrong += of_mounts(name, service, volumes, secrets)
        wrong += of_environment(name, service, known)
        wrong += of_commands(name, service)
        wrong += of_ports(name, service)
    for line in wrong:
        print(f"compose.yaml: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"compose.yaml: {len(services)} services, {len(volumes)} volumes, {len(secrets) - 1} secrets")


main()
