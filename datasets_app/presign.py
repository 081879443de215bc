"""A link to an object of an S3 store that works without keys for some minutes.

Source: Amazon's "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". Addresses are path-style.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit


class NoKeys(ValueError):
    """The message says what to do."""


def presigned(uri: str, seconds: int, *, now: datetime | None = None, filename: str = "") -> str:
    """A link for GET of s3://bucket/key. filename: under which a browser keeps it. Raises NoKeys."""
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        raise NoKeys(
            "Links into the store need its keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the web server."
        )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or f"https://s3.{region}.amazonaws.com"
    )
    host = urlsplit(endpoint).netloc
    at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    path = "/" + quote(uri.removeprefix("s3://"), safe="/~")
    values = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{key}/{scope}", "X-Amz-Date": at,
        "X-Amz-Expires": str(seconds), "X-Amz-SignedHeaders": "host",
    }  # fmt: skip
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        values["X-Amz-Security-Token"] = token
    if filename:
        values["response-content-disposition"] = f'attachment; filename="{filename}"'
    query = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(values.items()))
    request = "\n".join(["GET", path, query, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(request.encode()).hexdigest()])
    signing_key = f"AWS4{secret}".encode()
    for part in (at[:8], region, "s3", "aws4_request"):
        signing_key = hmac.new(signing_key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing_key, to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{endpoint.rstrip('/')}{path}?{query}&X-Amz-Signature={signature}"
