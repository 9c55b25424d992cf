"""What overlays must keep to where servers share a store, and their Redis; `policies.faults` calls these."""

import re
from collections.abc import Iterator

from rendered import mib, of_kind, servers, settings, store_claim, the

REDIS = "longtake-redis"
DNS = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
}


def pods(name: str) -> list[dict]:
    return [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}}]


def tcp(*ports: str) -> list[dict]:
    return [{"protocol": "TCP", "port": port} for port in ports]


def shared_faults(documents: list[dict]) -> Iterator[str]:
    workload, options, claim = servers(documents), settings(documents), store_claim(documents)
    yield from open_faults(documents, "registry" in options)
    alone = workload["kind"] == "StatefulSet"
    if alone == ("registry" in options):
        yield "shares its store, or not, with other options than it has"
    if claim is not None and claim["spec"]["accessModes"] != ["ReadWriteOnce" if alone else "ReadWriteMany"]:
        yield "the volume is not for as many pods as use it"
    if alone or "registry" not in options:
        return
    if workload["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
        yield "a rollout takes a server away before there is another"
    server = workload["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each for each in server.get("env", [])}
    if env.get("POD_IP", {}).get("valueFrom") != {"fieldRef": {"fieldPath": "status.podIP"}}:
        yield "does not know its address"
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    if options.get("advertise") != f"$(POD_IP):{ports['grpc']}":
        yield "others do not reach its gRPC port"
    if options.get("advertise-http") != f"$(POD_IP):{ports.get('videos', 8080)}":
        yield "others do not reach its HTTP port"
    yield from registry_faults(documents, options, server)


def registry_faults(documents: list[dict], options: dict, server: dict) -> Iterator[str]:
    url = re.fullmatch(r"redis://([\w.-]+):(\d+)", options["registry"])
    if url is None:
        yield f"no registry is at {options['registry']}"
    elif of_kind(documents, "StatefulSet"):  # of the component redis
        service = the(documents, "Service", REDIS)["spec"]["ports"][0]["port"]
        if (url[1], int(url[2])) != (REDIS, service):
            yield f"no registry is at {options['registry']}"
    volumes = {v["name"]: v for v in servers(documents)["spec"]["template"]["spec"]["volumes"]}
    folder, _, key = options["registry-password-file"].rpartition("/")
    mount = next((m for m in server["volumeMounts"] if m["mountPath"] == folder), None)
    if mount is None or "secret" not in volumes[mount["name"]] or key != "password":
        yield "has no password of the registry"


def bucket_faults(documents: list[dict]) -> Iterator[str]:
    """Of a store in S3."""
    options, pod = settings(documents), servers(documents)["spec"]["template"]["spec"]
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[\w.-]+)*", options["store"]):
        yield f"no bucket is at {options['store']}"
    if of_kind(documents, "PersistentVolumeClaim") or pod["containers"][0]["volumeMounts"] != [
        mount for mount in pod["containers"][0]["volumeMounts"] if mount.get("readOnly")
    ]:
        yield "has a volume beside its bucket"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    folder, _, key = options.get("store-credentials-file", "").rpartition("/")
    mount = next((m for m in pod["containers"][0]["volumeMounts"] if m["mountPath"] == folder), None)
    if mount is None or "secret" not in volumes[mount["name"]] or key != "credentials":
        yield "has no keys of the bucket"


def open_faults(documents: list[dict], shared: bool) -> Iterator[str]:
    """Connections that the servers may open, and who may call them, beside what the base's policy says."""
    found = {}
    for policy in of_kind(documents, "NetworkPolicy"):
        if policy["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "longtake"}}:
            found[policy["metadata"]["name"]] = policy["spec"].get("ingress", []), policy["spec"].get("egress", [])
    del found["longtake"]
    expected = {}
    if shared:
        among = tcp("grpc", "videos")
        expected["longtake-peers"] = [{"from": pods("longtake"), "ports": among}], [{"to": pods("longtake"), "ports": among}, DNS]
        if of_kind(documents, "StatefulSet"):
            expected["longtake-to-redis"] = [], [{"to": pods(REDIS), "ports": tcp("redis")}]
    if settings(documents)["store"].startswith("s3://"):
        expected["longtake-to-s3"] = [], [{"ports": [{"protocol": "TCP", "port": 443}]}]
    if found != expected:
        yield "servers reach others than each other and Redis"


def redis_faults(documents: list[dict]) -> Iterator[str]:
    stateful_set = the(documents, "StatefulSet", REDIS)
    template = stateful_set["spec"]["template"]
    pod, (container,) = template["spec"], template["spec"]["containers"]
    if stateful_set["spec"]["replicas"] != 1:
        yield "there are two, which know different things"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    name = volumes[mounts["/etc/redis"]]["configMap"]["name"]
    text = next((d["data"]["redis.conf"] for d in of_kind(documents, "ConfigMap") if d["metadata"]["name"] == name), "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    conf = dict(line.split(maxsplit=1) for line in lines)
    if (conf.get("appendonly"), conf.get("appendfsync")) != ("yes", "always"):
        yield "forgets what it has answered"
    claims = {claim["metadata"]["name"] for claim in stateful_set["spec"].get("volumeClaimTemplates", [])}
    if mounts.get(conf.get("dir", "")) not in claims:
        yield "its data are on no volume"
    memory = conf.get("maxmemory", "0mb")
    if (
        conf.get("maxmemory-policy") != "noeviction"
        or not 0 < int(memory[:-2]) <= mib(container["resources"]["limits"]["memory"]) / 2
    ):
        yield "evicts names, or uses more memory than it has"
    password = volumes[mounts["/etc/longtake-redis"]]
    theirs = [v["secret"]["secretName"] for v in servers(documents)["spec"]["template"]["spec"]["volumes"] if "secret" in v]
    if password.get("secret", {}).get("secretName") not in theirs:
        yield "has another password than the servers"
    if not {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys():
        yield "nothing asks whether it works"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    service = the(documents, "Service", REDIS)["spec"]
    if not service["selector"].items() <= template["metadata"]["labels"].items() or ports != {"redis": int(conf["port"])}:
        yield "its Service does not reach it"
    policy = the(documents, "NetworkPolicy", REDIS)["spec"]
    closed = policy["egress"] == [] and sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    if not closed or policy["podSelector"]["matchLabels"].items() - template["metadata"]["labels"].items():
        yield "it may open connections"
    if policy["ingress"] != [{"from": pods("longtake"), "ports": tcp("redis")}]:
        yield "others than the servers reach it"
