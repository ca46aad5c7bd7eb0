"""Rules about how many pods there are."""

from rendered import Rendered, matches
from rule import rule

QUERY = "SELECT waiting FROM headgate.runnable WHERE step = 'shard'"


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


@rule(
    "production",
    lambda r: keda(r)["spec"]["triggers"][0]["metadata"].update(query="SELECT count(*) FROM headgate.shard"),
    lambda r: keda(r)["spec"]["triggers"][0]["authenticationRef"].update(name="nobody"),
    lambda r: r.get("TriggerAuthentication", "headgate-observer")["spec"]["secretTargetRef"][0].update(key="dsn"),
    lambda r: keda(r)["spec"]["triggers"][0]["metadata"].update(targetQueryValue="8"),
    lambda r: r.get("TriggerAuthentication", "headgate-observer")["spec"]["secretTargetRef"][0].update(
        name="headgate-database-worker"
    ),
)
def keda_asks_one_question(rendered):
    """KEDA asks how many shards are runnable, as the observer, and wants one worker for each worker.shards of them."""
    for scaled in rendered.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            if trigger["metadata"]["query"] != QUERY:
                yield f"asked is {trigger['metadata']['query']}"
            shards = rendered.environment(rendered.workload("headgate-worker"))["HEADGATE__WORKER__SHARDS"]
            if trigger["metadata"]["targetQueryValue"] != shards:
                yield f"a worker takes {shards}, not {trigger['metadata']['targetQueryValue']}"
            authentication = rendered.find("TriggerAuthentication", trigger["authenticationRef"]["name"])
            if authentication is None:
                yield f"there is no {trigger['authenticationRef']['name']}"
                continue
            for entry in authentication["spec"]["secretTargetRef"]:
                if entry["name"] != "headgate-database-observer" or entry["key"] not in (rendered.keys("Secret", entry["name"]) or set()):
                    yield f"there is no {entry['key']} of {entry['name']}, or it is not the observer's"


@rule("alternatives", lambda r: hpa(r)["spec"]["behavior"]["scaleDown"].update(stabilizationWindowSeconds=0))
def scaling_down_takes_its_time(rendered):
    """No autoscaler takes pods away before five minutes of less work, nor more than one in a minute."""
    for one, _, _, _ in rendered.scalers():
        behavior = one["spec"].get("behavior") or one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        down = behavior["scaleDown"]
        slow = all(p["type"] == "Pods" and p["value"] == 1 and p["periodSeconds"] >= 60 for p in down["policies"])
        if down["stabilizationWindowSeconds"] < 300 or not slow:
            yield f"{one['metadata']['name']} is quicker"
