"""Rules about how many pods there are."""

import tomllib

from rendered import ROOT, Rendered, matches
from rule import rule


def hpa(rendered: Rendered) -> dict:
    return rendered.of("HorizontalPodAutoscaler")[0]


def keda(rendered: Rendered) -> dict:
    return rendered.get("ScaledObject", "headgate-worker")


@rule(
    "production",
    lambda r: hpa(r)["spec"]["scaleTargetRef"].update(name="headgate-worker"),
    lambda r: hpa(r)["spec"]["scaleTargetRef"].update(name="nowhere"),
    lambda r: keda(r)["spec"]["scaleTargetRef"].update(kind="StatefulSet"),
)
def one_thing_decides(rendered):
    """A Deployment has one autoscaler at most, of whatever kind, and each autoscaler has a Deployment."""
    targets = [target for _, target, _, _ in rendered.scalers()]
    for target in set(targets):
        if targets.count(target) > 1:
            yield f"several decide about {target}"
    for one, target, _, _ in rendered.scalers():
        if one["spec"]["scaleTargetRef"]["kind"] != "Deployment" or rendered.find("Deployment", target) is None:
            yield f"{one['metadata']['name']}: there is no Deployment {target}"


@rule(
    "production",
    lambda r: r.workload("headgate-worker").object["spec"].update(replicas=3),
    lambda r: r.workload("headgate-admin").object["spec"].update(replicas=1),
    lambda r: hpa(r)["spec"].update(minReplicas=2),
    lambda r: keda(r)["spec"].update(minReplicaCount=12, maxReplicaCount=12),
)
def numbers_stand_in_one_place(rendered):
    """What has an autoscaler has no `replicas`; in production there are three API pods, two of the others, and room above."""
    for one, _, least, most in rendered.scalers():
        if least >= most:
            yield f"{one['metadata']['name']} goes from {least} to {most}"
    for workload in (w for w in rendered.ours if w.kind == "Deployment"):
        scaled = any(target == workload.name for _, target, _, _ in rendered.scalers())
        if scaled and "replicas" in workload.object["spec"]:
            yield f"{workload.name} has an autoscaler and replicas"
        least = {"headgate-api": 3}.get(workload.name, 2) if rendered.name == "production" else 1
        if rendered.replicas(workload)[0] < least:
            yield f"{workload.name}: {rendered.replicas(workload)[0]} of {least}"


@rule(
    "production",
    lambda r: r.objects.remove(r.get("PodDisruptionBudget", "headgate-worker")),
    lambda r: r.get("PodDisruptionBudget", "headgate-api")["spec"].update(minAvailable=3),
    lambda r: r.get("PodDisruptionBudget", "headgate-api")["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component"),
)
def nodes_can_be_drained_one_pod_at_a_time(rendered):
    """Every Deployment has one budget of its own, which lets one pod go whatever their number: never minAvailable."""
    budgets = rendered.of("PodDisruptionBudget")
    for budget in budgets:
        if budget["spec"].get("maxUnavailable") != 1 or "minAvailable" in budget["spec"]:
            yield f"{budget['metadata']['name']} does not let one go"
    for workload in (w for w in rendered.ours if w.kind == "Deployment"):
        own = [b["metadata"]["name"] for b in budgets if matches(b["spec"]["selector"], workload.labels)]
        if own != [workload.name]:
            yield f"{workload.name} has the budgets {own}"


def of_worker(rendered: Rendered, key: str) -> str:
    """A setting of [worker] as the workers have it."""
    given = rendered.environment(rendered.workload("headgate-worker")).get(f"HEADGATE__WORKER__{key.upper()}")
    return given or str(tomllib.loads((ROOT / "config" / "default.toml").read_text())["worker"][key])


@rule(
    "production",
    lambda r: keda(r)["spec"]["triggers"][0]["metadata"].update(query="SELECT count(*) FROM headgate.shard"),
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__WORKER__SHARDS_PER_APP="64"),
    lambda r: r.get("ConfigMap", "headgate-config")["data"].pop("HEADGATE__WORKER__SHARDS_PER_PRACTICE"),
    lambda r: keda(r)["spec"]["triggers"][0]["authenticationRef"].update(name="nobody"),
    lambda r: r.get("TriggerAuthentication", "headgate-observer")["spec"]["secretTargetRef"][0].update(key="dsn"),
    lambda r: keda(r)["spec"]["triggers"][0]["metadata"].update(targetQueryValue="8"),
    lambda r: r.get("TriggerAuthentication", "headgate-observer")["spec"]["secretTargetRef"][0].update(
        name="headgate-database-worker"
    ),
)
def keda_asks_one_question(rendered):
    """KEDA asks how many shards run or could within the workers' caps, as the observer, and wants one worker for each
    worker.shards of them."""
    for scaled in rendered.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            caps = f"{of_worker(rendered, 'shards_per_practice')}, {of_worker(rendered, 'shards_per_app')}"
            if trigger["metadata"]["query"] != f"SELECT headgate.demand({caps})":
                yield f"asked is {trigger['metadata']['query']}, and the caps are {caps}"
            shards = of_worker(rendered, "shards")
            if trigger["metadata"]["targetQueryValue"] != shards:
                yield f"a worker takes {shards}, not {trigger['metadata']['targetQueryValue']}"
            authentication = rendered.find("TriggerAuthentication", trigger["authenticationRef"]["name"])
            if authentication is None:
                yield f"there is no {trigger['authenticationRef']['name']}"
                continue
            for entry in authentication["spec"]["secretTargetRef"]:
                if entry["name"] != "headgate-database-observer" or entry["key"] not in (rendered.keys("Secret", entry["name"]) or set()):
                    yield f"there is no {entry['key']} of {entry['name']}, or it is not the observer's"


@rule(
    "production",
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__WORKER__SHARDS_PER_APP="96"),
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__WORKER__SHARDS_PER_PRACTICE="64"),
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__WORKER__SHARDS_PER_APP="4"),
)
def caps_suit_the_fleet(rendered):
    """Where workers scale, one app may use more hands than the smallest fleet has, and leaves some of the largest; a practice
    may have no more than an app."""
    for _, target, least, most in rendered.scalers():
        if target != "headgate-worker" or rendered.name == "alternatives":
            continue
        hands, practice, app = (int(of_worker(rendered, key)) for key in ("shards", "shards_per_practice", "shards_per_app"))
        if not least * hands < app < most * hands or practice > app:
            yield f"{practice} of a practice and {app} of an app, of {least * hands} to {most * hands}"


@rule("alternatives", lambda r: hpa(r)["spec"]["behavior"]["scaleDown"].update(stabilizationWindowSeconds=0))
def scaling_down_takes_its_time(rendered):
    """No autoscaler takes pods away before five minutes of less work, nor more than one in a minute."""
    for one, _, _, _ in rendered.scalers():
        behavior = one["spec"].get("behavior") or one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        down = behavior["scaleDown"]
        slow = all(p["type"] == "Pods" and p["value"] == 1 and p["periodSeconds"] >= 60 for p in down["policies"])
        if down["stabilizationWindowSeconds"] < 300 or not slow:
            yield f"{one['metadata']['name']} is quicker"
