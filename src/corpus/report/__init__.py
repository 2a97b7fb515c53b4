"""What `process` did to every row: counted, checked, and written for machines and for people."""

from src.corpus.report.account import Report
from src.corpus.report.examples import EXAMPLES_PER_REASON, ExampleBox
from src.corpus.report.notices import find_warnings
from src.corpus.report.offending import offending_parts
from src.corpus.report.writing import write_report

__all__ = [
    "EXAMPLES_PER_REASON",
    "ExampleBox",
    "Report",
    "find_warnings",
    "offending_parts",
    "write_report",
]
