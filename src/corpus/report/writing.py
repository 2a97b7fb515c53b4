"""The report as files: report.json for machines, report.html for people."""

from __future__ import annotations

import json
from pathlib import Path

from src.corpus.report.account import Report
from src.corpus.report.page import render_page
from src.files import write_text


def write_report(report: Report, folder: Path) -> None:
    """Writes `report.html`, then `report.json`: where the second is, the first is whole.

    Raises:
        DataError: If the report does not add up; nothing is written then.
    """
    report.check()
    document = json.dumps(report.to_json(), ensure_ascii=False, indent=2, allow_nan=False)
    # Text from broken sources can hold lone surrogates; JSON writes them as it escapes them.
    document = document.encode("utf-8", "backslashreplace").decode("utf-8")
    write_text(folder / "report.html", render_page(report))
    write_text(folder / "report.json", document + "\n")
