"""Pre-signed URLs (Signature Version 4 in the query), so that a load generator that can't sign still sends requests that must be verified.

Pure: the time is an argument. Source: AWS, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
EXPIRES_S = 86_400
UNRESERVED = "-_.~"


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


@dataclass(frozen=True, slots=True)
class Presigner:
    """Signs targets for one server, one key and one moment; the key is derived once, so that 20,000 targets take a fraction of a second."""

    credentials: Credentials
    host: str
    now: datetime
    signing_key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        key = b"AWS4" + self.credentials.secret_key.encode()
        for part in (self._date, self.credentials.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        object.__setattr__(self, "signing_key", key)

    @property
    def _date(self) -> str:
        return self.now.strftime("%Y%m%d")

    def target(self, method: str, path: str, query: Mapping[str, str] | None = None) -> str:
        """The request target of `method` on the decoded `path`, signed for EXPIRES_S seconds, payload unsigned."""
        time = self.now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{self._date}/{self.credentials.region}/s3/aws4_request"
        parameters = {
            **(query or {}),
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.credentials.access_key}/{scope}",
            "X-Amz-Date": time,
            "X-Amz-Expires": str(EXPIRES_S),
            "X-Amz-SignedHeaders": "host",
        }
        encoded = sorted((quote(name, safe=UNRESERVED), quote(value, safe=UNRESERVED)) for name, value in parameters.items())
        query_string = "&".join(f"{name}={value}" for name, value in encoded)
        raw_path = quote(path, safe="/" + UNRESERVED)
        canonical = f"{method}\n{raw_path}\n{query_string}\nhost:{self.host}\n\nhost\nUNSIGNED-PAYLOAD"
        to_sign = f"{ALGORITHM}\n{time}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self.signing_key, to_sign.encode(), "sha256").hex()
        return f"{raw_path}?{query_string}&X-Amz-Signature={signature}"
