"""An OpenFaaS handler: takes webhooks whose X-Hub-Signature-256 (as GitHub sends it) is right, refuses others.

The secret is the function's own: corral deploy signed examples/signed.py --env WEBHOOK_SECRET=…"""

import hashlib
import hmac
import os


def handle(event, context):
    secret = os.environ["WEBHOOK_SECRET"].encode()
    right = "sha256=" + hmac.new(secret, event.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(event.headers.get("X-Hub-Signature-256", ""), right):
        return {"statusCode": 401, "body": "The signature is missing or wrong.\n"}
    print("accepted", event.headers.get("X-GitHub-Event", "an event"), "of", len(event.body), "bytes")
    return {"statusCode": 202, "body": "accepted\n"}
