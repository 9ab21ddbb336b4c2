#!/usr/bin/env python3
"""From the objects that Kueue publishes to those for a manager that runs beside the API server: reads and prints JSON.

Kept are CRDs and the webhooks of Kueue's own kinds and of Jobs; they name the manager by its address.
"""

import base64
import json
import sys

KEPT = ("-kueue-x-k8s-io-", "-batch-v1-job")


def main(manager, ca):
    with open(ca, "rb") as file:
        bundle = base64.b64encode(file.read()).decode()

    def client(old):
        return {"url": manager + old["service"]["path"], "caBundle": bundle}

    kept = []
    for item in documents(sys.stdin.read()):
        if item["kind"] == "CustomResourceDefinition":
            conversion = item["spec"].get("conversion", {})
            if "webhook" in conversion:
                conversion["webhook"]["clientConfig"] = client(conversion["webhook"]["clientConfig"])
        elif item["kind"].endswith("WebhookConfiguration"):
            hooks = item["webhooks"]
            item["webhooks"] = [
                hook | {"clientConfig": client(hook["clientConfig"])}
                for hook in hooks
                if any(word in hook["clientConfig"]["service"]["path"] for word in KEPT)
            ]
        else:
            continue
        kept.append(item)
    json.dump({"apiVersion": "v1", "kind": "List", "items": kept}, sys.stdout)


def documents(text):
    """One after the other, as kubectl prints them."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        at += len(text[at:]) - len(text[at:].lstrip())


if __name__ == "__main__":
    main(*sys.argv[1:])
