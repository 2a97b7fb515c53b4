"""SIGKILL at every point where a corpus file reaches the disk: old, new or absent, never a part."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Each child dies at its n-th fsync; the first that survives has written everything.
KILL_AT_EACH_FSYNC = """
import json, os, signal, sys
from pathlib import Path
from src.corpus.demo import write_demo_corpus
from src.corpus.report import Report, write_report

folder = Path(sys.argv[1])
flush = os.fsync

def die_at(fatal):
    calls = 0
    def fsync(descriptor):
        nonlocal calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)
    os.fsync = fsync

def run(write):
    for fatal in range(1, 100):
        child = os.fork()
        if not child:
            die_at(fatal)
            write()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        yield fatal, os.WIFSIGNALED(status)
        if not status:
            return

write_demo_corpus(folder / "demo", pairs=30, seed=1)
kills = []
for fatal, was_killed in run(lambda: write_demo_corpus(folder / "demo", pairs=30, seed=2)):
    # What carries the marker is the new corpus, whole: a call finds nothing to do.
    if (folder / "demo" / "dirt.json").exists():
        assert not write_demo_corpus(folder / "demo", pairs=30, seed=2).is_new, fatal
    kills.append(was_killed)

def report(rows):
    source = {"rows_in": rows, "kept": rows, "dropped": {}, "sampled_out": 0,
        "splits": {"train": rows}}
    return Report(rows_in=rows, kept=rows, splits={"train": rows}, by_source={"a": source})

write_report(report(1), folder / "report")
report_kills = []
for fatal, was_killed in run(lambda: write_report(report(2), folder / "report")):
    page = (folder / "report" / "report.html").read_text()
    rows = json.loads((folder / "report" / "report.json").read_text())["rows_in"]
    assert page.endswith("</html>\\n"), fatal
    assert rows == 1 or "2 of 2 rows kept" in page, fatal
    report_kills.append(was_killed)
print(json.dumps({"demo": kills, "report": report_kills}))
"""


def test_killed_writers_leave_whole_files_or_none(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KILL_AT_EACH_FSYNC, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    kills = json.loads(result.stdout)
    # Two per file: its bytes, then its folder.
    assert kills == {"demo": [True] * 8 + [False], "report": [True] * 4 + [False]}
    leftovers = [path.name for path in tmp_path.rglob(".*.partial")]
    assert leftovers == []
