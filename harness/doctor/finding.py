"""What a check says."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One result: `status` is ok, warning (worth knowing) or error (will fail or mislead; the message has the fix)."""

    area: str
    status: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)
