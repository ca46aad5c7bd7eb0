"""What runs in the pods of Headgate, resolved as the kubelet does, for a program that starts the same without a cluster."""

import base64

from rendered import Rendered, Workload, mebibytes

PROBES = {"startup": "startupProbe", "liveness": "livenessProbe", "readiness": "readinessProbe"}


def content(rendered: Rendered, kind: str, name: str) -> dict[str, str]:
    """Key and value of a rendered Secret or ConfigMap; of those that are made elsewhere only the keys."""
    found = rendered.find(kind, name)
    if found is None:
        return {key: "" for key in sorted(rendered.keys(kind, name) or set()) if key != "*"}
    data = dict(found.get("data", {}))
    return {key: base64.b64decode(value).decode() for key, value in data.items()} if kind == "Secret" else data


def pod(rendered: Rendered, workload: Workload) -> dict:
    container = workload.container
    context = container["securityContext"]
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return {
        "name": workload.name,
        "args": container["args"],
        "environment": rendered.environment(workload),
        "uid": context["runAsUser"],
        "gid": context["runAsGroup"],
        "read_only_root": context["readOnlyRootFilesystem"],
        "memory_bytes": int(mebibytes(container["resources"]["limits"]["memory"]) * 2**20),
        "grace_s": workload.pod["terminationGracePeriodSeconds"],
        "pre_stop_s": sleep,
        "ports": workload.ports,
        "probes": {
            name: {key: container[probe]["httpGet"][key] for key in ("path", "port")}
            for name, probe in PROBES.items()
            if probe in container
        },
        "mounts": [
            {"path": path, "name": name, "files": content(rendered, kind, name)}
            for path, (kind, name) in rendered.mounts(workload).items()
        ],
    }


def pods(rendered: Rendered) -> list[dict]:
    """One of each workload."""
    return [pod(rendered, workload) for workload in rendered.ours]
