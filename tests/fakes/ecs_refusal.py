"""What stand-ins of Alibaba Cloud's RPC services answer to requests that they do not carry out."""

from __future__ import annotations

import json


class Refusal(Exception):
    """HTTP status, code and text."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> tuple[int, str]:
        """Status and body."""
        body = {"RequestId": "R-1", "Code": self.code, "Message": self.message}
        return self.status, json.dumps(body)
