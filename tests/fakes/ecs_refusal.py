"""What the stand-in of ECS answers to a request that it does not carry out."""

from __future__ import annotations


class Refusal(Exception):
    """HTTP status, code and text."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
