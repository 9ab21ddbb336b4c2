#!/usr/bin/env python3
"""adapt.py ADDRESS CA-FILE: reads a peer's manifests as JSON, prints what a cluster without its pods needs of them.

The manager runs beside the API server, so of the manifests the types and the webhooks are left, and a webhook is called by
address (ADDRESS is HOST:PORT) instead of through a Service.
"""

import base64
import json
import sys
from pathlib import Path

WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def objects(text):
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        yield from value["items"] if value["kind"] == "List" else [value]


def main():
    address, ca = sys.argv[1], base64.b64encode(Path(sys.argv[2]).read_bytes()).decode()
    kept = []
    for each in objects(sys.stdin.read()):
        if each["kind"] == "CustomResourceDefinition":
            each["spec"].pop("conversion", None)
        elif each["kind"] in WEBHOOKS:
            for hook in each["webhooks"]:
                path = hook["clientConfig"]["service"]["path"]
                hook["clientConfig"] = {"url": f"https://{address}{path}", "caBundle": ca}
        else:
            continue
        kept.append(each)
    print(json.dumps({"apiVersion": "v1", "kind": "List", "items": kept}))


if __name__ == "__main__":
    main()
