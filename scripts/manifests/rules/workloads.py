"""Rules about pods: who they are, what they may do, how they start and end."""

import re

from rendered import Rendered, matches, mebibytes
from rule import rule

PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}

# Seconds after the hard stop that tasks may still take (crates/runtime/src/lifecycle.rs).
AFTER_HARD_STOP = 2

# Seconds that are to be left over before the kubelet kills.
MARGIN = 5


def api(rendered: Rendered):
    return rendered.workload("headgate-api")


def worker(rendered: Rendered):
    return rendered.workload("headgate-worker")


@rule("dev", lambda r: api(r).object["spec"]["selector"]["matchLabels"].update({"app.kubernetes.io/component": "other"}))
def selectors_match(rendered):
    """A Deployment selects the pods that it makes, and no other's."""
    for workload in rendered.workloads:
        if workload.kind == "Job":
            continue
        selected = [other.name for other in rendered.workloads if matches(workload.object["spec"]["selector"], other.labels)]
        if selected != [workload.name]:
            yield f"{workload.name} selects the pods of {selected or 'nobody'}"


@rule(
    "production",
    lambda r: r.get("Service", "headgate-api")["spec"]["ports"][0].update(targetPort="nowhere"),
    lambda r: r.get("Service", "headgate-admin")["spec"]["selector"].update(other="label"),
)
def services_lead_somewhere(rendered):
    """A Service leads to pods of one workload, at a port that they have by that name."""
    for service in rendered.of("Service"):
        name, spec = service["metadata"]["name"], service["spec"]
        behind = [w for w in rendered.workloads if matches({"matchLabels": spec["selector"]}, w.labels)]
        if len(behind) != 1:
            yield f"{name} leads to {[w.name for w in behind]}"
        for port in spec["ports"]:
            yield from (
                f"{name}: {w.name} has no port {port['targetPort']}" for w in behind if port["targetPort"] not in w.ports
            )


@rule("dev", lambda r: r.get("Service", "headgate-api")["spec"]["ports"][0].update(targetPort="private"))
def the_private_port_is_private(rendered):
    """No Service leads to the private port, which asks nobody who he is."""
    for service in rendered.of("Service"):
        for port in service["spec"]["ports"]:
            if port["targetPort"] in ("private", 8082):
                yield f"{service['metadata']['name']} leads to it"


@rule(
    "dev",
    lambda r: api(r).container["livenessProbe"]["httpGet"].update(path="/readyz"),
    lambda r: worker(r).container["readinessProbe"]["httpGet"].update(port="public"),
    lambda r: worker(r).container.pop("startupProbe"),
    lambda r: worker(r).container["ports"].clear(),
)
def probes_ask_the_right_thing(rendered):
    """Startup asks /startupz, liveness /livez and readiness /readyz, at the declared port `private`."""
    for workload in (w for w in rendered.ours if w.kind == "Deployment"):
        if "private" not in workload.ports:
            yield f"{workload.name} has no port private"
        for probe, path in PROBES.items():
            asks = workload.container.get(probe, {}).get("httpGet", {})
            if (asks.get("path"), asks.get("port")) != (path, "private"):
                yield f"{workload.name}: {probe} asks {asks or 'nothing'}"


@rule("dev", lambda r: api(r).container["startupProbe"].update(failureThreshold=10))
def startup_waits_for_the_migration(rendered):
    """A pod may wait for five minutes at its start: for the database, or for the schema."""
    for workload in (w for w in rendered.ours if w.kind == "Deployment"):
        probe = workload.container["startupProbe"]
        if probe["periodSeconds"] * probe["failureThreshold"] < 300:
            yield f"{workload.name} is restarted earlier"


@rule(
    "production",
    lambda r: worker(r).pod.update(terminationGracePeriodSeconds=60),
    lambda r: api(r).container["lifecycle"]["preStop"]["sleep"].update(seconds=20),
    lambda r: [v.update(value="300") for v in worker(r).container["env"] if v["name"] == "HEADGATE__DRAIN__GRACE_S"],
    lambda r: api(r).container.update(
        env=[v for v in api(r).container["env"] if v["name"] != "HEADGATE__DRAIN__GRACE_S"]
    ),
)
def grace_is_longer_than_the_end(rendered):
    """terminationGracePeriodSeconds is longer than preStop, the drain (which is said, not assumed) and the hard stop."""
    for workload in rendered.ours:
        grace = workload.pod["terminationGracePeriodSeconds"]
        stop = workload.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        drain = rendered.environment(workload).get("HEADGATE__DRAIN__GRACE_S")
        if drain is None:
            yield f"{workload.name} does not say drain.grace_s"
        elif grace < stop + int(drain) + AFTER_HARD_STOP + MARGIN:
            yield f"{workload.name}: {grace} s for {stop} + {drain} + {AFTER_HARD_STOP} and a margin of {MARGIN}"


@rule(
    "dev",
    lambda r: api(r).container.pop("lifecycle"),
    lambda r: api(r).container["lifecycle"]["preStop"].update({"exec": {"command": ["sleep", "5"]}}),
)
def whoever_is_reached_sleeps_first(rendered):
    """Pods behind a Service go on serving for 5 s or more after they were told to stop, by the kubelet's own sleep."""
    for workload in rendered.ours:
        if not any(matches({"matchLabels": s["spec"]["selector"]}, workload.labels) for s in rendered.of("Service")):
            continue
        stop = workload.container.get("lifecycle", {}).get("preStop", {})
        if set(stop) != {"sleep"} or stop["sleep"]["seconds"] < 5:
            yield f"{workload.name}: {stop or 'no preStop'}"


@rule(
    "dev",
    lambda r: api(r).object["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
    lambda r: worker(r).object["spec"].pop("minReadySeconds"),
)
def rollouts_add_before_they_take(rendered):
    """A rollout adds a pod, sees it ready for a while, and only then takes one away."""
    for workload in (w for w in rendered.ours if w.kind == "Deployment"):
        spec = workload.object["spec"]
        if spec.get("strategy", {}).get("rollingUpdate") != {"maxUnavailable": 0, "maxSurge": 1}:
            yield f"{workload.name}: {spec.get('strategy')}"
        if spec.get("minReadySeconds", 0) < 5:
            yield f"{workload.name} has no minReadySeconds"


@rule(
    "production",
    lambda r: api(r).container.update(image="registry.example.org/headgate:latest"),
    lambda r: api(r).container.update(image="registry.example.org/headgate"),
    lambda r: api(r).container.update(image="registry.example.org:5000/headgate"),
)
def images_are_named_exactly(rendered):
    """An image has a tag or a digest, and never the tag latest; all pods of Headgate have the same."""
    for workload in rendered.workloads:
        for container in workload.containers:
            image = container["image"]
            digest = re.fullmatch(r"[^@]+@sha256:[0-9a-f]{64}", image)
            tag = re.fullmatch(r"[^@]+:([\w][\w.-]*)", image)
            if not digest and (not tag or "/" in tag[1] or tag[1] == "latest" or image.count(":") > 1 + ("/" in image)):
                yield f"{workload.name}: {image}"
    if len(images := {w.container["image"] for w in rendered.ours}) > 1:
        yield f"several images: {sorted(images)}"


RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@rule(
    "dev",
    lambda r: api(r).container["securityContext"].pop("readOnlyRootFilesystem"),
    lambda r: worker(r).container["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    lambda r: worker(r).pod.update(hostNetwork=True),
    lambda r: r.workload("postgres").container["securityContext"].update(runAsUser=0),
    lambda r: api(r).container["securityContext"].update(runAsUser=1000),
    lambda r: api(r).pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
)
def containers_are_restricted(rendered):
    """Every container keeps to the Pod Security Standard `restricted`, with a read-only root; Headgate's is user 10001."""
    for workload in rendered.workloads:
        if any(workload.pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{workload.name} has a namespace of the host's"
        yield from (f"{workload.name} mounts a folder of the host's" for v in workload.pod.get("volumes", []) if "hostPath" in v)
        for container in workload.containers:
            context = container.get("securityContext", {})
            yield from (
                f"{workload.name}: {key} is {context.get(key)!r}" for key, value in RESTRICTED.items() if context.get(key) != value
            )
            user, group = context.get("runAsUser", 0), context.get("runAsGroup", 0)
            if not user or not group or (workload.is_ours and (user, group) != (10001, 10001)):
                yield f"{workload.name} runs as {user}:{group}"
            if any("hostPort" in port for port in container.get("ports", [])):
                yield f"{workload.name} has a port of the host's"


@rule("production", lambda r: r.get("Namespace", "headgate")["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"))
def the_namespace_is_restricted(rendered):
    """The namespace enforces the Pod Security Standard `restricted`, and everything with a namespace is in it."""
    labels = rendered.get("Namespace", "headgate")["metadata"]["labels"]
    for mode in ("enforce", "audit", "warn"):
        if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
            yield f"{mode} is not restricted"
    for one in rendered.objects:
        if one["kind"] not in ("Namespace", "PriorityClass") and one["metadata"].get("namespace") != "headgate":
            yield f"{one['kind']} {one['metadata']['name']} is elsewhere"


@rule(
    "production",
    lambda r: worker(r).pod.pop("automountServiceAccountToken"),
    lambda r: r.get("ServiceAccount", "headgate-worker").update(automountServiceAccountToken=True),
    lambda r: worker(r).pod.update(serviceAccountName="headgate-api"),
    lambda r: r.objects.remove(r.get("ServiceAccount", "headgate-migrate")),
)
def accounts_are_separate_and_without_token(rendered):
    """Each workload has an account of its own, and no pod a token for the cluster's API."""
    for account in rendered.of("ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"the account {account['metadata']['name']} mounts its token"
    for workload in rendered.workloads:
        if workload.pod.get("automountServiceAccountToken") is not False:
            yield f"{workload.name} mounts a token"
        if workload.is_ours:
            account = workload.pod.get("serviceAccountName")
            if account != workload.name or rendered.find("ServiceAccount", account) is None:
                yield f"{workload.name} runs as {account}"


@rule(
    "dev",
    lambda r: api(r).container["resources"]["limits"].update(memory="1Gi"),
    lambda r: worker(r).container.pop("resources"),
)
def memory_is_what_is_asked_for(rendered):
    """Every container asks for CPU and for memory, and its limit of memory is what it asks for."""
    for workload in rendered.workloads:
        for container in workload.containers:
            resources = container.get("resources", {})
            asked, limit = resources.get("requests", {}), resources.get("limits", {})
            if not asked.get("cpu") or not asked.get("memory") or asked["memory"] != limit.get("memory"):
                yield f"{workload.name}: {resources or 'nothing'}"


@rule(
    "dev",
    lambda r: worker(r).container["resources"]["limits"].update(memory="256Mi"),
    lambda r: [v.update(value="268435456") for v in worker(r).container["env"] if "BUFFER" in v["name"]],
)
def a_worker_has_room_for_its_buffer(rendered):
    """A worker's memory is 64 MiB and four times worker.buffer_bytes (long lines, as measured), and 30 % more."""
    for workload in (w for w in rendered.ours if w.name == "headgate-worker"):
        buffer = int(rendered.environment(workload)["HEADGATE__WORKER__BUFFER_BYTES"]) / 2**20
        limit = mebibytes(workload.container["resources"]["limits"]["memory"])
        if limit < (64 + 4 * buffer) * 1.3:
            yield f"{limit:.0f} MiB for a buffer of {buffer:.0f} MiB"


@rule(
    "production",
    lambda r: worker(r).pod["topologySpreadConstraints"].pop(0),
    lambda r: api(r).pod["topologySpreadConstraints"][1]["labelSelector"]["matchLabels"].update(other="label"),
    lambda r: api(r).pod.update(priorityClassName="other"),
    lambda r: worker(r).pod["topologySpreadConstraints"][0].pop("nodeTaintsPolicy"),
)
def pods_are_spread_and_have_a_priority(rendered):
    """Pods of a Deployment are spread over zones and nodes by their own labels, and have a priority that exists; where they
    wait rather than crowd, a zone that is lost does not count."""
    for workload in rendered.ours:
        priority = workload.pod.get("priorityClassName")
        if rendered.find("PriorityClass", priority) is None:
            yield f"{workload.name}: there is no priority {priority}"
        if workload.kind == "Job":
            continue
        spread = workload.pod.get("topologySpreadConstraints", [])
        over = {one["topologyKey"] for one in spread if matches(one["labelSelector"], workload.labels)}
        if over != {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}:
            yield f"{workload.name} is spread over {sorted(over) or 'nothing'}"
        for one in spread:
            if one["whenUnsatisfiable"] == "DoNotSchedule" and one.get("nodeTaintsPolicy") != "Honor":
                yield f"{workload.name} waits for zones that are lost"


@rule(
    "dev",
    lambda r: r.workload("headgate-migrate").container.update(args=["migrate"]),
    lambda r: r.workload("headgate-migrate").object["spec"].pop("ttlSecondsAfterFinished"),
    lambda r: api(r).container.update(command=["/bin/sh", "-c", "headgate api"]),
)
def roles_are_started_as_what_they_are(rendered):
    """The image's own entry point gets the role as its argument; the migration creates the roles, ends and goes."""
    expected = {"headgate-api": ["api"], "headgate-admin": ["api"], "headgate-worker": ["worker"]}
    expected["headgate-migrate"] = ["migrate", "--create-roles"]
    found = {workload.name: workload.container.get("args") for workload in rendered.ours}
    if found != expected:
        yield f"started are {found}"
    yield from (f"{w.name} has a command: the image has no shell" for w in rendered.ours if "command" in w.container)
    job = rendered.workload("headgate-migrate").object["spec"]
    for key in ("backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds"):
        if key not in job:
            yield f"the migration has no {key}"
