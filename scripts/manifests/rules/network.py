"""Rules about who may speak to whom."""

import ipaddress
from urllib.parse import urlsplit

from rendered import Rendered, matches
from rule import rule

# What no address of the outside is in: nothing of it may be reached by "anywhere".
NOT_OUTSIDE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"]
NOT_OUTSIDE_6 = ["fc00::/7", "fe80::/10", "::1/128", "::ffff:0:0/96", "64:ff9b::/96"]

# Which roles go where: name of the policy's other end, and who may.
EGRESS = {
    "headgate-to-dns": {"headgate-api", "headgate-admin", "headgate-worker", "headgate-migrate"},
    "headgate-to-control-database": {"headgate-api", "headgate-admin", "headgate-worker", "headgate-migrate"},
    "worker-to-sources": {"headgate-worker"},
    "headgate-to-public-https": {"headgate-api", "headgate-admin", "headgate-worker"},
    "headgate-to-collector": {"headgate-api", "headgate-admin", "headgate-worker"},
}

# Which ports are reached, of whom.
INGRESS = {("headgate-api", "public"), ("headgate-admin", "admin")} | {
    (name, "private") for name in ("headgate-api", "headgate-admin", "headgate-worker")
}


def policy(rendered: Rendered, name: str) -> dict:
    return next(p for p in rendered.of("NetworkPolicy") if p["metadata"]["name"] == name)


def first_ingress(rendered: Rendered) -> dict:
    return rendered.of("Ingress")[0]


def selected(rendered: Rendered, one: dict) -> set[str]:
    return {w.name for w in rendered.workloads if matches(one["spec"]["podSelector"], w.labels)}


@rule(
    "dev",
    lambda r: r.objects.remove(policy(r, "default-deny")),
    lambda r: policy(r, "default-deny")["spec"].update(policyTypes=["Ingress"]),
    lambda r: policy(r, "default-deny")["spec"].update(egress=[{}]),
)
def everything_is_forbidden_first(rendered):
    """One policy selects every pod and allows nothing, in both directions."""
    for one in rendered.of("NetworkPolicy"):
        spec = one["spec"]
        if spec["podSelector"] == {} and sorted(spec["policyTypes"]) == ["Egress", "Ingress"]:
            if not spec.get("ingress") and not spec.get("egress"):
                return
    yield "there is none"


@rule(
    "production",
    lambda r: policy(r, "headgate-to-dns")["spec"]["podSelector"]["matchLabels"].update(
        {"app.kubernetes.io/component": "api"}
    ),
    lambda r: policy(r, "worker-to-sources")["spec"].update(podSelector={}),
    lambda r: policy(r, "headgate-to-control-database")["spec"]["podSelector"]["matchLabels"].update(other="label"),
)
def every_role_goes_where_it_must(rendered):
    """Every pod has policies of its own, and each way out is open to the roles that need it and to no other."""
    ways = {p["metadata"]["name"]: selected(rendered, p) for p in rendered.of("NetworkPolicy")}
    for name, who in EGRESS.items():
        if ways.get(name) != who:
            yield f"{name}: {sorted(ways.get(name, set()))}"
    for workload in rendered.workloads:
        if not any(workload.name in who for name, who in ways.items() if name != "default-deny"):
            yield f"{workload.name} has no policy"


@rule(
    "production",
    lambda r: policy(r, "prometheus-to-private")["spec"]["ingress"][0]["ports"].append({"port": "public"}),
    lambda r: policy(r, "ingress-controller-to-api")["spec"]["ingress"][0].pop("ports"),
    lambda r: r.objects.remove(policy(r, "operators-to-admin")),
    lambda r: policy(r, "prometheus-to-private")["spec"]["ingress"][0]["ports"][0].update(port=8082),
)
def only_the_right_ports_are_reached(rendered):
    """From outside are reached: the API's public port, the admin API's, and every role's private one; by their names."""
    reached = set()
    for one in rendered.of("NetworkPolicy"):
        for allowed in one["spec"].get("ingress", []):
            if not allowed.get("ports") or not allowed.get("from"):
                yield f"{one['metadata']['name']} opens every port, or to everybody"
            reached |= {(n, p["port"]) for n in selected(rendered, one) for p in allowed.get("ports", [])}
    ours = {(name, port) for name, port in reached if name.startswith("headgate-")}
    if ours != INGRESS:
        yield f"too much: {sorted(ours - INGRESS, key=str)}, too little: {sorted(INGRESS - ours)}"
    for name, port in reached:
        if isinstance(port, str) and port not in rendered.workload(name).ports:
            yield f"{name} has no port {port}"


@rule(
    "alternatives",
    lambda r: r.objects.remove(policy(r, "ingress-controller-to-challenges")),
    lambda r: policy(r, "ingress-controller-to-challenges")["spec"]["ingress"][0]["ports"][0].update(port=8080),
    lambda r: policy(r, "ingress-controller-to-challenges")["spec"]["podSelector"].update(matchLabels={"app": "solver"}),
    lambda r: policy(r, "ingress-controller-to-api")["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"].update(o="l"),
)
def challenges_are_reached(rendered):
    """Where the API is reached from outside, the same controller reaches the pods in which cert-manager answers an authority,
    by their label and at their port."""
    if not rendered.of("Ingress", "Gateway"):
        return
    api = next(p for p in rendered.of("NetworkPolicy") if p["metadata"]["name"] == "ingress-controller-to-api")
    solver = {"acme.cert-manager.io/http01-solver": "true"}
    allowed = [
        rule
        for one in rendered.of("NetworkPolicy")
        if one["spec"]["podSelector"].get("matchLabels") == solver
        for rule in one["spec"].get("ingress", [])
    ]
    if [(rule["from"], [p["port"] for p in rule["ports"]]) for rule in allowed] != [(api["spec"]["ingress"][0]["from"], [8089])]:
        yield f"they are reached by {allowed or 'nobody'}"


@rule(
    "production",
    lambda r: policy(r, "ingress-controller-to-api")["spec"]["ingress"][0]["from"][0].pop("namespaceSelector"),
    lambda r: policy(r, "prometheus-to-private")["spec"]["ingress"][0]["from"].append({"namespaceSelector": {}}),
    lambda r: policy(r, "headgate-to-collector")["spec"]["egress"][0]["to"][0].update(namespaceSelector={}),
)
def neighbours_are_named(rendered):
    """A policy that lets another namespace in, or goes there, names it; an empty selector would be all of them."""
    for one in rendered.of("NetworkPolicy"):
        spec = one["spec"]
        sides = [(a, "from") for a in spec.get("ingress", [])] + [(a, "to") for a in spec.get("egress", [])]
        for allowed, side in sides:
            for peer in allowed.get(side, []):
                selector = peer.get("namespaceSelector")
                inside = selector is None and peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name")
                known = inside in ("headgate", "postgres", "s3")
                if "ipBlock" not in peer and not known and not (selector or {}).get("matchLabels"):
                    yield f"{one['metadata']['name']}: {peer}"


@rule(
    "production",
    lambda r: policy(r, "headgate-to-public-https")["spec"]["egress"][0]["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16"),
    lambda r: policy(r, "headgate-to-public-https")["spec"]["egress"][0]["to"][0]["ipBlock"]["except"].remove("10.0.0.0/8"),
    lambda r: policy(r, "headgate-to-public-https")["spec"]["egress"][0]["to"][1]["ipBlock"].update(cidr="::/0"),
    lambda r: policy(r, "headgate-to-public-https")["spec"]["egress"][0]["ports"].append({"port": 80}),
    lambda r: policy(r, "worker-to-sources")["spec"]["egress"][0]["to"][0]["ipBlock"].update(cidr="10.0.0.0/7"),
)
def outside_is_not_inside(rendered):
    """"Anywhere" means port 443 at public addresses, without the metadata service; other networks are narrow, at 5432; a
    node's cache of names is asked for names alone."""
    for one in rendered.of("NetworkPolicy"):
        for allowed in one["spec"].get("egress", []):
            ports = [port["port"] for port in allowed.get("ports", [])]
            for block in (peer["ipBlock"] for peer in allowed.get("to", []) if "ipBlock" in peer):
                network = ipaddress.ip_network(block["cidr"])
                # NodeLocal DNSCache at the pod's own node.
                if str(network) == "169.254.20.10/32":
                    if ports != [53, 53]:
                        yield f"{one['metadata']['name']}: {network} at {ports}"
                    continue
                if network.prefixlen > 8:
                    if ports != [5432]:
                        yield f"{one['metadata']['name']}: {network} at {ports}"
                    continue
                if ports != [443]:
                    yield f"{one['metadata']['name']}: anywhere at {ports}"
                excepted = [ipaddress.ip_network(text) for text in block.get("except", [])]
                for text in NOT_OUTSIDE if network.version == 4 else NOT_OUTSIDE_6:
                    inside = ipaddress.ip_network(text)
                    if inside.overlaps(network) and not any(inside.subnet_of(one) for one in excepted):
                        yield f"{one['metadata']['name']}: {inside} is reached"


def seconds(annotations: dict, name: str) -> int:
    return int(annotations.get(f"nginx.ingress.kubernetes.io/{name}", "60"))


# What the listeners of Headgate themselves take: bytes of a body and seconds of a request (config/default.toml, and for the
# admin API, whose lists are streamed, crates/cli/src/api.rs).
BOUNDS = {"headgate-api": (262_144, 30), "headgate-admin": (16_777_216, 660)}
SIZES = {"k": 1024, "m": 1024**2}

# Seconds after which Headgate ends a connection on which nothing is asked: server.idle_timeout_s.
IDLE = 75


@rule(
    "alternatives",
    lambda r: first_ingress(r)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name="nowhere"),
    lambda r: first_ingress(r)["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"].update(name="private"),
    lambda r: first_ingress(r)["spec"].update(tls=[]),
    lambda r: first_ingress(r)["metadata"]["annotations"].update({"nginx.ingress.kubernetes.io/proxy-body-size": "8k"}),
    lambda r: first_ingress(r)["metadata"]["annotations"].update({"nginx.ingress.kubernetes.io/proxy-read-timeout": "20"}),
    lambda r: first_ingress(r)["metadata"]["annotations"].pop("nginx.ingress.kubernetes.io/enable-access-log"),
    lambda r: first_ingress(r)["metadata"]["annotations"].pop("nginx.ingress.kubernetes.io/proxy-next-upstream"),
    lambda r: r.get("Ingress", "headgate-api")["metadata"]["annotations"].update({"nginx.ingress.kubernetes.io/limit-rps": "50"}),
)
def ingresses_lead_to_services(rendered):
    """An Ingress leads to a Service's port, by TLS, within Headgate's own bounds, sends nothing twice, lets an address ask for
    a thousand practices, and writes no access log."""
    for one in rendered.of("Ingress"):
        name, annotations = one["metadata"]["name"], one["metadata"]["annotations"]
        hosts = {rule["host"] for rule in one["spec"]["rules"]}
        if hosts != {host for tls in one["spec"].get("tls", []) for host in tls["hosts"]}:
            yield f"{name}: TLS is not for {sorted(hosts)}"
        if annotations.get("nginx.ingress.kubernetes.io/enable-access-log") != "false":
            yield f"{name} logs query strings"
        if annotations.get("nginx.ingress.kubernetes.io/proxy-next-upstream") != "off":
            yield f"{name} sends a kick-off by GET twice"
        for limit in ("limit-rps", "limit-connections"):
            if int(annotations.get(f"nginx.ingress.kubernetes.io/{limit}", "1000")) < 300:
                yield f"{name}: {limit} is too low for one address with many practices"
        for path in (path for rule in one["spec"]["rules"] for path in rule["http"]["paths"]):
            to = path["backend"]["service"]
            service = rendered.find("Service", to["name"])
            if service is None or to["port"]["name"] not in {port["name"] for port in service["spec"]["ports"]}:
                yield f"{name}: {to} is no Service's port"
                continue
            most, within = BOUNDS[to["name"]]
            size = annotations["nginx.ingress.kubernetes.io/proxy-body-size"]
            if int(size[:-1]) * SIZES[size[-1]] < most:
                yield f"{name}: bodies of {size}"
            if min(seconds(annotations, "proxy-read-timeout"), seconds(annotations, "proxy-send-timeout")) <= within:
                yield f"{name} gives up before Headgate does"


def listener(rendered: Rendered, name: str) -> dict:
    return next(one for one in rendered.get("Gateway", "headgate-api")["spec"]["listeners"] if one["name"] == name)


def route(rendered: Rendered, name: str = "headgate-api") -> dict:
    return next(one for one in rendered.of("HTTPRoute") if one["metadata"]["name"] == name)["spec"]


def covers(pattern: str, host: str) -> bool:
    """Whether a listener's hostname lets a route's in."""
    return pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))


@rule(
    "production",
    lambda r: route(r)["rules"][0]["backendRefs"][0].update(name="nowhere"),
    lambda r: route(r)["rules"][0]["backendRefs"][0].update(port=8081),
    lambda r: route(r)["rules"][0]["timeouts"].update(request="15s"),
    lambda r: route(r)["rules"][0].pop("timeouts"),
    lambda r: route(r)["parentRefs"][1].update(sectionName="http"),
    lambda r: route(r)["parentRefs"].pop(1),
    lambda r: route(r, "headgate-api-redirect")["rules"][0].pop("filters"),
    lambda r: listener(r, "https").update(hostname="other.example.org"),
    lambda r: r.get("EnvoyProxy", "headgate-api")["spec"]["telemetry"]["accessLog"].update(disable=False),
    lambda r: r.get("Gateway", "headgate-api")["spec"].pop("infrastructure"),
    lambda r: r.get("BackendTrafficPolicy", "headgate-api")["spec"]["timeout"]["http"].update(connectionIdleTimeout="90s"),
    lambda r: r.objects.remove(r.get("BackendTrafficPolicy", "headgate-api")),
)
def routes_lead_to_services(rendered):
    """A route leads from a Gateway's listener to a Service's port, by TLS, within Headgate's own bounds; what comes without
    TLS is sent away; no access log is written, and idle connections end before Headgate ends them."""
    gateways = {one["metadata"]["name"]: one for one in rendered.of("Gateway")}
    for one in rendered.of("HTTPRoute"):
        name, spec = one["metadata"]["name"], one["spec"]
        listeners = []
        for parent in spec["parentRefs"]:
            found = [
                offered
                for offered in gateways.get(parent["name"], {"spec": {"listeners": []}})["spec"]["listeners"]
                if offered["name"] == parent.get("sectionName")
            ]
            if not found:
                yield f"{name}: there is no listener {parent}"
            listeners += found
        for host in spec.get("hostnames", []):
            if not any(covers(offered.get("hostname", host), host) for offered in listeners):
                yield f"{name}: no listener takes {host}"
        plain = any(offered["protocol"] != "HTTPS" for offered in listeners)
        for step in spec["rules"]:
            to = [f.get("requestRedirect", {}).get("scheme") for f in step.get("filters", [])]
            if plain and (step.get("backendRefs") or to != ["https"]):
                yield f"{name} takes what comes without TLS"
            if plain:
                continue
            for backend in step["backendRefs"]:
                service = rendered.find("Service", backend["name"])
                if service is None or backend["port"] not in {port["port"] for port in service["spec"]["ports"]}:
                    yield f"{name}: {backend} is no Service's port"
                    continue
                if int(step.get("timeouts", {}).get("request", "0s").removesuffix("s")) <= BOUNDS[backend["name"]][1]:
                    yield f"{name} gives up before Headgate does"
    for name, gateway in gateways.items():
        reference = gateway["spec"].get("infrastructure", {}).get("parametersRef", {})
        proxy = rendered.find(reference.get("kind", ""), reference.get("name", ""))
        if proxy is None or proxy["spec"]["telemetry"]["accessLog"].get("disable") is not True:
            yield f"{name} logs query strings"
        idle = [
            int(one["spec"]["timeout"]["http"]["connectionIdleTimeout"].removesuffix("s"))
            for one in rendered.of("BackendTrafficPolicy")
            if (("Gateway", name) in {(to["kind"], to["name"]) for to in one["spec"]["targetRefs"]})
        ]
        if not idle or max(idle) >= IDLE:
            yield f"{name} keeps idle connections for {idle or 'ever'}, Headgate for {IDLE} s"


@rule(
    "production",
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__SERVER__PUBLIC_BASE_URL="https://other.example"),
    lambda r: r.get("ConfigMap", "headgate-config")["data"].update(HEADGATE__SERVER__FORWARDED_HOPS="0"),
    lambda r: route(r)["hostnames"].remove("*.fhir.example.org"),
)
def practices_are_reached_by_path_and_by_host(rendered):
    """Where there is an Ingress or a Gateway, the public base URL is its host, one proxy is counted, and practices may have
    hosts."""
    hosts = {rule["host"] for one in rendered.of("Ingress") for rule in one["spec"]["rules"]}
    hosts |= {host for one in rendered.of("HTTPRoute") for host in one["spec"].get("hostnames", [])}
    if not hosts:
        return
    config = rendered.get("ConfigMap", "headgate-config")["data"]
    base = urlsplit(config["HEADGATE__SERVER__PUBLIC_BASE_URL"])
    if base.scheme != "https" or base.hostname not in hosts:
        yield f"{base.geturl()} is not among {sorted(hosts)}"
    if not any(host.startswith("*.") for host in hosts):
        yield "there is no wildcard for practices"
    if config["HEADGATE__SERVER__FORWARDED_HOPS"] != "1":
        yield "the proxy is not counted in server.forwarded_hops"
