"""What every rendered overlay must keep to. `faults` says what it does not keep to; an empty list is right."""

import re
from collections.abc import Iterator

import yaml
from rendered import HEADLESS, mib, of_kind, servers, settings, store_claim, the
from shared_policies import bucket_faults, redis_faults, shared_faults

BUNDLED = "/usr/share/longtake/models/"
# ConfigMaps and Secrets that whoever installs makes (docs/kubernetes.md).
MADE_BY_HAND = {"longtake-model-sums", "longtake-api"}
SECRETS_MADE_BY_HAND = {"longtake-envoy-tls", "longtake-redis", "longtake-s3"}
# What containers may write: the server's store, Redis' data.
WRITABLE = {"store", "data"}


def faults(documents: list[dict]) -> list[str]:
    pod = servers(documents)["spec"]["template"]["spec"]
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    found = [*pod_faults(pod), *spread_faults(pod)]
    for container in containers:
        found += [f"{container['name']}: {fault}" for fault in container_faults(container)]
    found += server_faults(documents)
    found += reference_faults(documents)
    found += reach_faults(documents)
    found += scaling_faults(documents)
    found += shared_faults(documents)
    for redis in [d for d in of_kind(documents, "StatefulSet") if d["metadata"]["name"] == "longtake-redis"]:
        pod = redis["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        each = [*pod_faults(pod), *container_faults(container), *redis_faults(documents)]
        found += [f"redis: {fault}" for fault in each]
    if any(d["metadata"]["name"] == "longtake-envoy" for d in of_kind(documents, "Deployment")):
        found += envoy_faults(documents)
    return found


def pod_faults(pod: dict) -> Iterator[str]:
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or security.get("runAsUser", 0) < 1000:
        yield "may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False:
        yield "gets a token"
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "in the node's namespaces"
    if any("hostPath" in volume for volume in pod["volumes"]):
        yield "sees the node's files"


def spread_faults(pod: dict) -> Iterator[str]:
    if len(pod.get("topologySpreadConstraints", [])) < 2:
        yield "not spread over nodes and zones"


def container_faults(container: dict) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged") is not False:
        yield "may gain privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "root file system is writable"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "has capabilities"
    if "runAsUser" in security or "runAsNonRoot" in security:
        yield "has a user of its own"
    resources = container.get("resources", {})
    if set(resources.get("limits", {})) < {"cpu", "memory"} or resources["limits"] != resources.get("requests"):
        yield "limits are missing, or not the requests"
    if not re.fullmatch(r"longtake:(cpu|cuda)|envoy:v1\.\d+\.\d+|redis:7\.\d+", container["image"]):
        yield f"image {container['image']}"
    if container.get("lifecycle") and not container["image"].startswith("envoy:"):
        yield "has a hook"
    for mount in container["volumeMounts"]:
        if not mount.get("readOnly") and mount["name"] not in WRITABLE:
            yield f"may write to {mount['mountPath']}"


def volume_faults(documents: list[dict]) -> Iterator[str]:
    """Of a store in a folder."""
    options, claim = settings(documents), store_claim(documents)
    server = servers(documents)["spec"]["template"]["spec"]["containers"][0]
    if claim is None or options["store-mib"] >= mib(claim["spec"]["resources"]["requests"]["storage"]):
        yield "the store is larger than its volume"
    mounts = {mount["mountPath"]: mount for mount in server["volumeMounts"]}
    folder = next((path for path in mounts if options["store"].startswith(path + "/")), None)
    if folder is None or mounts[folder]["name"] != "store":
        yield "the store is not on its volume"


def server_faults(documents: list[dict]) -> Iterator[str]:
    """Manifest and server.toml say the same."""
    options = settings(documents)
    pod = servers(documents)["spec"]["template"]["spec"]
    server = pod["containers"][0]
    if server["args"][:2] != ["--config", "/etc/longtake/server.toml"]:
        yield "does not read its configuration"
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    listens = {"grpc": "listen", "http": "metrics-listen", "videos": "http-listen"}
    if ports != {name: int(options[option].split(":")[1]) for name, option in listens.items() if option in options}:
        yield "other ports than server.toml"
    for probe, path in (("startupProbe", "/startupz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        if server.get(probe, {}).get("httpGet") != {"path": path, "port": "http"}:
            yield f"no {probe}"
    if pod["terminationGracePeriodSeconds"] < options["shutdown-seconds"] + 5:
        yield "is killed before it has shut down"
    limits = server["resources"]["limits"]
    if options["keep-mib"] > mib(limits["memory"]) / 2:
        yield "keeps more chunks than memory allows"
    yield from bucket_faults(documents) if options["store"].startswith("s3://") else volume_faults(documents)
    if (options.get("backend") == "cuda") != ("nvidia.com/gpu" in limits) or (server["image"] == "longtake:cuda") != (
        "nvidia.com/gpu" in limits
    ):
        yield "backend, image and GPUs do not fit"
    if not options["model"].startswith(BUNDLED):
        checks = [c["args"][0] for c in pod.get("initContainers", []) if c["command"] == ["/usr/bin/longtake-verify-model"]]
        if checks != [options["model"]]:
            yield "the model is not verified"


def reference_faults(documents: list[dict]) -> Iterator[str]:
    """What is named is there."""
    workload = servers(documents)
    pod = workload["spec"]["template"]["spec"]
    maps = {d["metadata"]["name"] for d in of_kind(documents, "ConfigMap")} | MADE_BY_HAND
    claims = {d["metadata"]["name"] for d in of_kind(documents, "PersistentVolumeClaim")}
    for volume in pod["volumes"]:
        if "configMap" in volume and volume["configMap"]["name"] not in maps:
            yield f"no ConfigMap {volume['configMap']['name']}"
        if "persistentVolumeClaim" in volume and volume["persistentVolumeClaim"]["claimName"] not in claims:
            yield f"no claim {volume['persistentVolumeClaim']['claimName']}"
        if "secret" in volume and volume["secret"]["secretName"] not in SECRETS_MADE_BY_HAND:
            yield f"no Secret {volume['secret']['secretName']}"
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                yield f"no volume {mount['name']}"
    the(documents, "ServiceAccount", pod["serviceAccountName"])
    headless = the(documents, "Service", workload["spec"].get("serviceName", HEADLESS))
    if headless["spec"].get("clusterIP") != "None" or not headless["spec"].get("publishNotReadyAddresses"):
        yield "pods have no names while they shut down"


def reach_faults(documents: list[dict]) -> Iterator[str]:
    """Selectors select the pods, and the network policy lets in whom it should."""
    workload = servers(documents)
    labels = workload["spec"]["template"]["metadata"]["labels"].items()
    names = {port["name"] for port in workload["spec"]["template"]["spec"]["containers"][0]["ports"]}
    policy = the(documents, "NetworkPolicy", "longtake")["spec"]
    services = [service for service in of_kind(documents, "Service") if service["metadata"]["name"] in ("longtake", HEADLESS)]
    selectors = [service["spec"]["selector"] for service in services]
    selectors += [workload["spec"]["selector"]["matchLabels"], policy["podSelector"]["matchLabels"]]
    selectors += [the(documents, "PodDisruptionBudget", "longtake")["spec"]["selector"]["matchLabels"]]
    if not all(selector and selector.items() <= labels for selector in selectors):
        yield "a selector does not select the pods"
    if not {port["targetPort"] for service in services for port in service["spec"]["ports"]} <= names:
        yield "a service names a port that is not there"
    if sorted(policy["policyTypes"]) != ["Egress", "Ingress"] or policy["egress"]:
        yield "the server may open connections"
    allowed = {(port["port"], str(rule["from"])) for rule in policy["ingress"] for port in rule["ports"]}
    expected = {
        ("grpc", "[{'podSelector': {'matchLabels': {'longtake-client': 'true'}}}]"),
        ("http", "[{'namespaceSelector': {'matchLabels': {'kubernetes.io/metadata.name': 'monitoring'}}}]"),
    }
    if "videos" in names:
        envoy = "[{'podSelector': {'matchLabels': {'app.kubernetes.io/name': 'longtake-envoy'}}}]"
        expected |= {("grpc", envoy), ("videos", envoy)}
    if allowed != expected:
        yield "the network policy lets in others"
    for monitor in of_kind(documents, "ServiceMonitor"):
        chosen = [s for s in services if monitor["spec"]["selector"]["matchLabels"].items() <= s["metadata"]["labels"].items()]
        ports = {port["name"] for service in chosen for port in service["spec"]["ports"]}
        if len(chosen) != 1 or not {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports:
            yield "the monitor scrapes nothing, or twice"


def scaling_faults(documents: list[dict]) -> Iterator[str]:
    workload = servers(documents)
    scalers = of_kind(documents, "HorizontalPodAutoscaler") + of_kind(documents, "ScaledObject")
    if len(scalers) > 1:
        yield "two autoscalers"
    if bool(scalers) == ("replicas" in workload["spec"]):
        yield "each apply sets the number of pods back, or nobody sets it"
    for scaler in scalers:
        target = {"apiVersion": "apps/v1", "kind": workload["kind"], "name": workload["metadata"]["name"]}
        if scaler["spec"]["scaleTargetRef"] != target:
            yield "the autoscaler scales something else"
        for trigger in scaler["spec"].get("triggers", []):
            if f'namespace="{workload["metadata"]["namespace"]}"' not in trigger["metadata"]["query"]:
                yield "the query asks for another namespace"


def envoy_faults(documents: list[dict]) -> Iterator[str]:
    """Of Envoy before the servers: what holds for all pods, and that its files fit the manifests."""
    template = the(documents, "Deployment", "longtake-envoy")["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"].items()
    (container,) = pod["containers"]
    yield from (f"envoy: {fault}" for fault in [*pod_faults(pod), *spread_faults(pod), *container_faults(container)])
    maps = {d["metadata"]["name"]: d for d in of_kind(documents, "ConfigMap")}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    if mounts.keys() != {"/etc/envoy", "/etc/envoy-tls", "/etc/longtake-api"}:
        yield "envoy: other folders than its files name"
        return
    if "secret" not in mounts["/etc/envoy-tls"]:
        yield "envoy: its key is no secret"
    if mounts["/etc/longtake-api"]["configMap"]["name"] not in MADE_BY_HAND:
        yield "envoy: no ConfigMap of the API"
    files = maps.get(mounts["/etc/envoy"]["configMap"]["name"], {"data": {}})["data"]
    if not {"envoy.yaml", "drain.sh"} <= files.keys():
        yield "envoy: no ConfigMap of its files"
        return
    listeners = yaml.safe_load(files["envoy.yaml"])["static_resources"]["listeners"]
    listening = {each["name"]: each["address"]["socket_address"]["port_value"] for each in listeners}
    if listening != {port["name"]: port["containerPort"] for port in container["ports"]}:
        yield "envoy: other ports than envoy.yaml"
    hook = container["lifecycle"]["preStop"]["exec"]["command"]
    if hook[:2] != ["/bin/bash", "/etc/envoy/drain.sh"] or pod["terminationGracePeriodSeconds"] < int(hook[2]) + 5:
        yield "envoy: is killed before its streams have ended"
    for kind in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
        spec = the(documents, kind, "longtake-envoy")["spec"]
        selector = spec["podSelector"]["matchLabels"] if kind == "NetworkPolicy" else spec["selector"]
        if not selector.get("matchLabels", selector).items() <= labels:
            yield f"envoy: its {kind} does not select the pods"
    workload = servers(documents)
    names = {port["name"]: port["containerPort"] for port in workload["spec"]["template"]["spec"]["containers"][0]["ports"]}
    reached = yaml.safe_load(files["clusters.yaml"])["resources"]
    # A Deployment's pods have no names of their own, but the headless service has their addresses.
    pods = r"longtake-\d+\." + HEADLESS if workload["kind"] == "StatefulSet" else HEADLESS
    for place in (place for each in reached for group in each["load_assignment"]["endpoints"] for place in group["lb_endpoints"]):
        address = place["endpoint"]["address"]["socket_address"]
        if address["port_value"] not in (names["grpc"], names.get("videos")):
            yield f"envoy: no server is at {address['address']}:{address['port_value']}"
        if not re.fullmatch(pods, address["address"]):
            yield f"envoy: no pod is called {address['address']}"
