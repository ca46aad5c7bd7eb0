"""Rules about the configuration: options, secrets and connections."""

import tomllib

from rendered import ROOT, Rendered
from rule import rule

# Who needs which secret. Nobody else has it mounted.
SECRETS = {
    "headgate-api": {"headgate-database-api", "headgate-keys", "headgate-s3"},
    "headgate-admin": {"headgate-database-api", "headgate-keys", "headgate-s3"},
    "headgate-worker": {"headgate-database-worker", "headgate-sources", "headgate-s3"},
    "headgate-migrate": {"headgate-database-owner"},
}

# The ConfigMap with the certificate authorities of database servers.
AUTHORITIES = "headgate-database-ca"

# Variables of the libraries, not of Headgate.
OTHERS = {"AWS_EC2_METADATA_DISABLED"}

# Connections of the control database beside the pools: a worker's keeper of leases; and for all together KEDA's, an
# operator's psql and `headgate doctor`, and PostgreSQL's superuser_reserved_connections.
OF_A_WORKER = 1
RESERVE = 15


def options() -> set[str]:
    """The options of config/default.toml, as `section.key`."""

    def names(table, prefix):
        for key, value in table.items():
            if isinstance(value, dict):
                yield from names(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}"

    return set(names(tomllib.loads((ROOT / "config" / "default.toml").read_text()), ""))


def option(variable: str) -> str:
    return variable.removeprefix("HEADGATE__").lower().replace("__", ".")


def variable_of(rendered: Rendered, workload: str, name: str) -> dict:
    return next(v for v in rendered.workload(workload).container["env"] if v["name"] == name)


def base_name(rendered: Rendered, name: str) -> str:
    """A generated name without its suffix of a hash."""
    known = {secret for secrets in SECRETS.values() for secret in secrets} | {"headgate-postgres", "headgate-admin-keys"}
    return next((k for k in known if name == k or (name.startswith(f"{k}-") and len(name) == len(k) + 11)), name)


@rule(
    "production",
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__SERVER__PUBLIC_LISTENS="x"),
    lambda r: variable_of(r, "headgate-worker", "HEADGATE__WORKER__SHARDS").update(name="HEADGATE__WORKERS__SHARDS"),
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE_LOG_FILTER="info"),
)
def variables_are_options(rendered):
    """Every variable is an option of config/default.toml, or is known for something else."""
    known = options()
    for workload in rendered.ours:
        for name in rendered.environment(workload):
            if name not in OTHERS and not (name.startswith("HEADGATE__") and option(name) in known):
                yield f"{workload.name}: {name} is no option"


@rule(
    "dev",
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__DATABASE__URL="postgres://x"),
    lambda r: variable_of(r, "headgate-api", "HEADGATE__KEYS__ENCRYPTION_KEY_FILE").update(
        name="HEADGATE__KEYS__ENCRYPTION_KEY"
    ),
    lambda r: r.workload("headgate-api").container["env"].append(
        {"name": "HEADGATE__S3__REGION", "valueFrom": {"secretKeyRef": {"name": "headgate-s3", "key": "x"}}}
    ),
    lambda r: r.workload("headgate-api").container["envFrom"].append({"secretRef": {"name": "headgate-keys"}}),
)
def secrets_are_files(rendered):
    """What may be given as a file is given as a file; no variable is taken from a Secret."""
    files = {name.removesuffix("_file") for name in options() if name.endswith("_file")}
    for workload in rendered.ours:
        for name in rendered.environment(workload):
            if option(name) in files:
                yield f"{workload.name}: {name} is given by value"
        for variable in workload.container.get("env", []):
            if "valueFrom" in variable:
                yield f"{workload.name}: {variable['name']} is taken from elsewhere"
        if any("secretRef" in source for source in workload.container.get("envFrom", [])):
            yield f"{workload.name} has a Secret in its environment"


@rule(
    "production",
    lambda r: variable_of(r, "headgate-api", "HEADGATE__DATABASE__URL_FILE").update(value="/etc/headgate/database/dsn"),
    lambda r: r.get("ExternalSecret", "headgate-keys")["spec"]["data"][0].update(secretKey="key"),
    lambda r: r.objects.remove(r.get("ExternalSecret", "headgate-keys")),
    lambda r: r.objects.remove(r.get("ExternalSecret", "headgate-sources")),
    lambda r: variable_of(r, "headgate-api", "HEADGATE__DATABASE__URL_FILE").update(value="/run/elsewhere/url"),
)
def mounted_keys_exist(rendered):
    """Every file that an option names is a key of a Secret or ConfigMap that is mounted there and that somebody makes."""
    for workload in rendered.workloads:
        mounts = rendered.mounts(workload)
        for path, (kind, name) in mounts.items():
            # The bundle of authorities is made by hand where one is needed.
            if rendered.keys(kind, name) is None and (name != AUTHORITIES or (kind, name) not in rendered.optional(workload)):
                yield f"{workload.name}: nobody makes the {kind} {name} for {path}"
        files = {k: v for k, v in rendered.environment(workload).items() if k.endswith("_FILE") and v}
        for variable, file in files.items():
            folder, _, key = file.rpartition("/")
            if folder not in mounts:
                yield f"{workload.name}: nothing is mounted where {variable} looks"
                continue
            keys = rendered.keys(*mounts[folder]) or set()
            if key not in keys and "*" not in keys:
                yield f"{workload.name}: {mounts[folder][1]} has no key {key} for {variable}"


@rule(
    "dev",
    lambda r: r.workload("headgate-worker").pod["volumes"][0]["secret"].update(
        secretName=r.get("Secret", "headgate-database-owner")["metadata"]["name"]
    ),
    lambda r: r.workload("headgate-worker").pod["volumes"][0]["secret"].update(defaultMode=0o444),
    lambda r: r.workload("headgate-api").container["volumeMounts"][0].pop("readOnly"),
)
def nobody_has_anothers_secret(rendered):
    """A pod mounts the secrets that its role needs and no other, read-only and not for the world."""
    for workload in rendered.ours:
        for volume in workload.pod.get("volumes", []):
            if (secret := volume.get("secret")) is None:
                continue
            name = base_name(rendered, secret["secretName"])
            if name not in SECRETS[workload.name]:
                yield f"{workload.name} mounts {name}"
            if secret.get("defaultMode", 0o644) & 0o007:
                yield f"{workload.name}: everybody may read {name}"
        yield from (
            f"{workload.name} could write to {m['mountPath']}" for m in workload.container["volumeMounts"] if not m.get("readOnly")
        )


def volume_of(rendered: Rendered, workload: str, name: str) -> dict:
    return next(v for v in rendered.workload(workload).pod["volumes"] if v["name"] == name)


@rule(
    "production",
    lambda r: volume_of(r, "headgate-worker", "sources")["secret"].pop("optional"),
    lambda r: volume_of(r, "headgate-migrate", "database-ca")["configMap"].pop("optional"),
    lambda r: r.workload("headgate-admin").container["volumeMounts"].pop(1),
    lambda r: volume_of(r, "headgate-api", "database")["secret"].update(optional=True),
)
def pods_start_before_the_first_practice(rendered):
    """Pods wait for no Secret of practices and for no authorities of databases, which may be missing, and start without
    nothing else; whoever has a database's URL has the authorities at /etc/headgate/database-ca."""
    for workload in rendered.ours:
        mounted, optional = set(rendered.mounts(workload).values()), rendered.optional(workload)
        if rendered.mounts(workload).get("/etc/headgate/database-ca") != ("ConfigMap", AUTHORITIES):
            yield f"{workload.name} lacks the authorities"
        may = {(kind, name) for kind, name in mounted if base_name(rendered, name) in ("headgate-sources", AUTHORITIES)}
        if optional != may:
            yield f"{workload.name}: {sorted(optional ^ may)}"


@rule(
    "production",
    lambda r: r.workload("headgate-worker").container.update(
        volumeMounts=[m for m in r.workload("headgate-worker").container["volumeMounts"] if m["name"] != "sources"]
    ),
)
def workers_find_the_sources(rendered):
    """The DSNs of practices are at /etc/headgate/sources of the workers, and nowhere else."""
    for workload in rendered.ours:
        has = "/etc/headgate/sources" in rendered.mounts(workload)
        if has != (workload.name == "headgate-worker"):
            yield f"{workload.name}: {'has' if has else 'lacks'} them"


LISTENERS = {"public": "PUBLIC", "admin": "ADMIN", "private": "PRIVATE"}


@rule(
    "dev",
    lambda r: variable_of(r, "headgate-api", "HEADGATE__SERVER__ADMIN_LISTEN").update(value="0.0.0.0:8081"),
    lambda r: variable_of(r, "headgate-api", "HEADGATE__SERVER__PUBLIC_LISTEN").update(value="0.0.0.0:8090"),
    lambda r: r.workload("headgate-admin").container["ports"][0].update(name="public"),
)
def listeners_are_the_declared_ports(rendered):
    """A listener is bound to all addresses where the pod declares its port, with that number, and to loopback elsewhere."""
    for workload in (w for w in rendered.ours if w.kind == "Deployment"):
        environment = rendered.environment(workload)
        for port, name in LISTENERS.items():
            listens = environment.get(f"HEADGATE__SERVER__{name}_LISTEN", "127.0.0.1:0")
            address, _, number = listens.rpartition(":")
            declared = workload.ports.get(port)
            if declared is None and address != "127.0.0.1":
                yield f"{workload.name}: the {port} listener is at {listens} and not declared"
            if declared is not None and (address not in ("0.0.0.0", "[::]") or int(number) != declared):
                yield f"{workload.name}: the port {port} is {declared}, the listener at {listens}"


@rule(
    "production",
    lambda r: r.get("ScaledObject", "headgate-worker")["spec"].update(maxReplicaCount=40),
    lambda r: variable_of(r, "headgate-api", "HEADGATE__DATABASE__MAX_CONNECTIONS").update(value="40"),
    lambda r: r.get("ConfigMap", "headgate-config")["metadata"]["annotations"].clear(),
)
def pools_fit_the_database(rendered):
    """All pools together, at their largest scale and in a rollout, stay below the control database's max_connections."""
    annotations = rendered.get("ConfigMap", "headgate-config")["metadata"].get("annotations") or {}
    if "control-database-max-connections" not in annotations:
        yield "nobody says how many connections the database has"
        return
    total, terms = RESERVE, []
    for workload in rendered.ours:
        pool = int(rendered.environment(workload)["HEADGATE__DATABASE__MAX_CONNECTIONS"])
        pool += OF_A_WORKER if workload.name == "headgate-worker" else 0
        pods = rendered.replicas(workload)[1] + (workload.kind == "Deployment")
        total += pods * pool
        terms.append(f"{workload.name} {pods} x {pool}")
    most = int(annotations["control-database-max-connections"])
    if total >= most:
        yield f"{total} ({', '.join(terms)}, {RESERVE} in reserve) of {most}"


@rule(
    "dev",
    lambda r: r.get("Secret", "headgate-database-owner")["data"].update(r.get("Secret", "headgate-database-api")["data"]),
)
def roles_of_the_database_are_apart(rendered):
    """The API, the workers and the owner have database URLs of their own."""
    urls = [s["data"]["url"] for s in rendered.of("Secret") if s["metadata"]["name"].startswith("headgate-database-")]
    urls += [
        e["spec"]["data"][0]["remoteRef"]["key"]
        for e in rendered.of("ExternalSecret")
        if e["metadata"]["name"].startswith("headgate-database-")
    ]
    if len(set(urls)) != len(urls):
        yield "two of them are the same"
