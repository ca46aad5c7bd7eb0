"""What kustomize makes of an overlay, and how to look things up in it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DEPLOY = ROOT / "deploy" / "kubernetes"

# Everything that is rendered: the name of a rendering, and its folder.
RENDERINGS = {
    "dev": DEPLOY / "overlays" / "dev",
    "production": DEPLOY / "overlays" / "production",
    "alternatives": HERE / "combinations" / "alternatives",
}

# Objects that somebody makes by hand before the overlay is applied: name of the rendering, kind, name, and its keys. The
# README says how.
MADE_BY_HAND = {("dev", "ConfigMap", "headgate-admin-keys"): {"jwks.json"}}


class Loader(yaml.SafeLoader):
    """YAML in which a key may stand only once, as in the API server's strict reading."""


def _mapping(loader, node):
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def render(installed: Path, folder: Path) -> str:
    """The manifests of an overlay, as text."""
    done = subprocess.run([installed / "render", folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{folder.relative_to(ROOT)} cannot be rendered:\n{done.stderr.strip()}")
    return done.stdout


@dataclass
class Workload:
    """Something that has pods: a Deployment or a Job."""

    object: dict

    @property
    def name(self) -> str:
        return self.object["metadata"]["name"]

    @property
    def kind(self) -> str:
        return self.object["kind"]

    @property
    def template(self) -> dict:
        return self.object["spec"]["template"]

    @property
    def pod(self) -> dict:
        return self.template["spec"]

    @property
    def labels(self) -> dict:
        return self.template["metadata"]["labels"]

    @property
    def is_ours(self) -> bool:
        """Whether it runs Headgate, and not a server that the dev overlay brings."""
        return self.labels.get("app.kubernetes.io/name") == "headgate"

    @property
    def container(self) -> dict:
        """Its one container."""
        (container,) = self.pod["containers"]
        return container

    @property
    def containers(self) -> list[dict]:
        return self.pod["containers"] + self.pod.get("initContainers", [])

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}


class Rendered:
    """All objects of one rendering."""

    def __init__(self, name: str, objects: list[dict]):
        self.name = name
        self.objects = objects

    @classmethod
    def read(cls, name: str, text: str) -> "Rendered":
        return cls(name, [one for one in yaml.load_all(text, Loader) if one is not None])

    def of(self, *kinds: str) -> list[dict]:
        """The objects of these kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def find(self, kind: str, name: str) -> dict | None:
        """The object of this kind and name."""
        return next((one for one in self.of(kind) if one["metadata"]["name"] == name), None)

    def get(self, kind: str, name: str) -> dict:
        """The same where it must be there; the suffix of a generated name may be left out."""
        for one in self.of(kind):
            if one["metadata"]["name"] == name or one["metadata"]["name"].startswith(f"{name}-"):
                return one
        raise LookupError(f"there is no {kind} {name}")

    @property
    def workloads(self) -> list[Workload]:
        return [Workload(one) for one in self.of("Deployment", "Job", "CronJob", "StatefulSet", "DaemonSet")]

    @property
    def ours(self) -> list[Workload]:
        return [workload for workload in self.workloads if workload.is_ours]

    def workload(self, name: str) -> Workload:
        return next(workload for workload in self.workloads if workload.name == name)

    def environment(self, workload: Workload) -> dict[str, str]:
        """The environment of a workload's container as the kubelet makes it."""
        variables = {}
        for source in workload.container.get("envFrom", []):
            config = self.find("ConfigMap", source["configMapRef"]["name"]) if "configMapRef" in source else None
            variables |= config["data"] if config else {}
        for variable in workload.container.get("env", []):
            variables[variable["name"]] = variable.get("value", "")
        return variables

    def keys(self, kind: str, name: str) -> set[str] | None:
        """The keys of a Secret or ConfigMap, whoever makes it. None: nobody does. {"*"}: whatever there is elsewhere."""
        if (found := self.find(kind, name)) is not None:
            return set(found.get("data", {})) | set(found.get("stringData", {}))
        if (keys := MADE_BY_HAND.get((self.name, kind, name))) is not None:
            return keys
        for external in self.of("ExternalSecret") if kind == "Secret" else []:
            if external["spec"]["target"]["name"] == name:
                named = {entry["secretKey"] for entry in external["spec"].get("data", [])}
                return named | ({"*"} if external["spec"].get("dataFrom") else set())
        return None

    @staticmethod
    def optional(workload: Workload) -> set[tuple[str, str]]:
        """Kind and name of the Secrets and ConfigMaps that a pod starts without, too."""
        found = set()
        for volume in workload.pod.get("volumes", []):
            if volume.get("secret", {}).get("optional"):
                found.add(("Secret", volume["secret"]["secretName"]))
            if volume.get("configMap", {}).get("optional"):
                found.add(("ConfigMap", volume["configMap"]["name"]))
        return found

    def mounts(self, workload: Workload) -> dict[str, tuple[str, str]]:
        """Where Secrets and ConfigMaps are mounted: the path, and kind and name of what is there."""
        volumes = {volume["name"]: volume for volume in workload.pod.get("volumes", [])}
        found = {}
        for mount in workload.container.get("volumeMounts", []):
            volume = volumes[mount["name"]]
            if "secret" in volume:
                found[mount["mountPath"]] = ("Secret", volume["secret"]["secretName"])
            elif "configMap" in volume:
                found[mount["mountPath"]] = ("ConfigMap", volume["configMap"]["name"])
        return found

    def scalers(self) -> list[tuple[dict, str, int, int]]:
        """What decides a number of pods: the object, its target, and from how many to how many."""
        found = []
        for one in self.of("HorizontalPodAutoscaler"):
            spec = one["spec"]
            found.append((one, spec["scaleTargetRef"]["name"], spec["minReplicas"], spec["maxReplicas"]))
        for one in self.of("ScaledObject"):
            spec = one["spec"]
            found.append((one, spec["scaleTargetRef"]["name"], spec["minReplicaCount"], spec["maxReplicaCount"]))
        return found

    def replicas(self, workload: Workload) -> tuple[int, int]:
        """From how many pods to how many, without those of a rollout."""
        if workload.kind == "Job":
            return (1, 1)
        for _, target, least, most in self.scalers():
            if target == workload.name:
                return (least, most)
        count = workload.object["spec"].get("replicas", 1)
        return (count, count)


def matches(selector: dict, labels: dict) -> bool:
    """Whether a label selector selects."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        value, values = labels.get(expression["key"]), expression.get("values", [])
        held = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not held[expression["operator"]]:
            return False
    return True


def mebibytes(quantity: str) -> float:
    """A quantity of memory, in MiB."""
    units = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024}
    return float(quantity[:-2]) * units[quantity[-2:]]
