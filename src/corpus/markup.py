"""What is not language in a sentence: tags, addresses, link targets, code, placeholders."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKUP = re.compile(
    r"</?[A-Za-z][^<>]*>"  # HTML and XML tags
    r"|[A-Za-z]+://[^\s<>()]+"  # addresses
    r"|\]\([^()\s]*(?:\s\"[^\"]*\")?\)"  # the target of a Markdown link
    r"|\{\{.*?\}\}"  # template calls
    r"|\{#[\w-]+\}"  # anchors of headings
    r"|(?::[\w+.:-]+:)?`[^`]{1,80}`"  # code and roles such as :class:`list`
)
_PLACEHOLDER = re.compile(
    r"%(?:\([a-z_]+\))?(?:[0-9]\$)?[-+#0]?[0-9.]*l{0,2}[sdiufgxXc@](?![a-zA-Z])"  # printf
    r"|%[1-9]\b"  # Qt, LibreOffice
    r"|(?<![\\\w^=$>{])\{[A-Za-z0-9_]*\}(?!\})"  # str.format, ICU; not LaTeX, JSX or shell
)


def visible_texts(texts: Sequence[str]) -> list[str]:
    """What a reader sees of each text: markup becomes a space."""
    return [
        _MARKUP.sub(" ", text)
        if "<" in text or "`" in text or "://" in text or "](" in text or "{" in text
        else text
        for text in texts
    ]


def placeholders_differ(english: str, chinese: str) -> bool:
    """Whether the sides do not hold the same placeholders (`%s`, `%1`, `{name}`), in any order."""
    if not ("%" in english or "{" in english or "%" in chinese or "{" in chinese):
        return False
    return sorted(_PLACEHOLDER.findall(english)) != sorted(_PLACEHOLDER.findall(chinese))
