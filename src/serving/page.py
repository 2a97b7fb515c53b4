"""The page at /: page.html with its own directions and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.languages import LANGUAGES, split_direction

_FILE = Path(__file__).with_name("page.html")
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_SLOT = "/*DIRECTIONS*/[]"


@dataclass(frozen=True)
class Page:
    """The page and its headers."""

    content: str
    headers: dict[str, str]


def load_page(directions: Sequence[str]) -> Page:
    """Fills in the model's directions.

    The content security policy names the hashes of the one script and the one style: even text
    that found a way into the page could not run, nor could it load anything from elsewhere.
    """
    names = []
    for direction in directions:
        source, target = split_direction(direction)
        names.append(
            {
                "id": direction,
                "source": source,
                "target": target,
                "name": f"{LANGUAGES[source].name} → {LANGUAGES[target].name}",
            }
        )
    content = _FILE.read_text(encoding="utf-8").replace(_SLOT, json.dumps(names))
    policy = (
        "default-src 'none'; img-src data:; connect-src 'self'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors 'none'; script-src {_hashes(_SCRIPT, content)}; "
        f"style-src {_hashes(_STYLE, content)}"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }
    return Page(content, headers)


def _hashes(pattern: re.Pattern[str], content: str) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in pattern.findall(content))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
