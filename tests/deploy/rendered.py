"""What is in the documents of a rendered overlay."""

import re
import tomllib

HEADLESS = "longtake-pods"
UNITS = {"Mi": 1, "Gi": 1024}


def mib(quantity: str) -> int:
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def of_kind(documents: list[dict], kind: str) -> list[dict]:
    return [document for document in documents if document["kind"] == kind]


def the(documents: list[dict], kind: str, name: str | None = None) -> dict:
    found = [d for d in of_kind(documents, kind) if name is None or d["metadata"]["name"] == name]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def servers(documents: list[dict]) -> dict:
    """What has the servers' pods: a StatefulSet, or a Deployment where they share a store."""
    (found,) = [d for d in documents if d["kind"] in ("StatefulSet", "Deployment") and d["metadata"]["name"] == "longtake"]
    return found


def settings(documents: list[dict]) -> dict:
    """The server's options: its file, and what its command line has beside it or in its place."""
    pod = servers(documents)["spec"]["template"]["spec"]
    volume = next(v for v in pod["volumes"] if v["name"] == "config")
    text = the(documents, "ConfigMap", volume["configMap"]["name"])["data"]["server.toml"]
    options = tomllib.loads(text)
    variables = {each["name"]: each.get("value") for each in pod["containers"][0].get("env", [])}
    for argument in pod["containers"][0]["args"]:
        for name, value in variables.items():
            argument = argument.replace(f"$({name})", value if value is not None else f"$({name})")
        if match := re.fullmatch(r"--([\w-]+)=(.+)", argument):
            options[match[1]] = int(match[2]) if match[2].isdigit() else match[2]
    return options


def store_claim(documents: list[dict]) -> dict | None:
    """Of the volume `store`: each pod's own, or one for all."""
    workload = servers(documents)
    volumes = {volume["name"]: volume for volume in workload["spec"]["template"]["spec"]["volumes"]}
    if "store" in volumes:
        name = volumes["store"]["persistentVolumeClaim"]["claimName"]
        return next((d for d in of_kind(documents, "PersistentVolumeClaim") if d["metadata"]["name"] == name), None)
    return next((c for c in workload["spec"].get("volumeClaimTemplates", []) if c["metadata"]["name"] == "store"), None)
