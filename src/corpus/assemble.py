"""From finished work units to the processed corpus: decisions, shards, and the account of both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

from src.corpus import shards
from src.corpus.accounting import account
from src.corpus.adequacy_stage import AdequacyScores
from src.corpus.decide import Decisions
from src.corpus.decontamination import SideKeys
from src.corpus.disk import explained_disk_errors
from src.corpus.filters import build_rules
from src.corpus.phases import Phases
from src.corpus.report import Report
from src.corpus.stage_folder import StageFolder
from src.corpus.unit_rows import Corpus, Languages
from src.corpus.verdicts import reasons
from src.corpus.work_units import WorkUnit
from src.corpus.write_corpus import write_corpus
from src.schema.data import DataConfig
from src.tasks.engine import Engine

_BYTES_PER_PAIR = 300  # of text and rejected shards, for messages about space


def assemble(
    units: Sequence[WorkUnit],
    data: DataConfig,
    *,
    folder: StageFolder,
    evaluation_keys: Callable[[Languages], SideKeys],
    engine: Engine,
    phases: Phases,
) -> Report:
    """Decides about every row and writes text/ and rejected/; old ones stay until these are whole.

    Args:
        units: Finished units, in the order of the corpus.
        data: The configuration of the stage.
        folder: Where the output belongs.
        evaluation_keys: Gives the sentences of the evaluation sets of a pair of languages.
        engine: What runs tasks.
        phases: Is told what begins.

    Returns:
        The account; time, memory and warnings are the caller's to add.

    Raises:
        DataError: If too few pairs are left for the splits, the disk is full, or what would be
            replaced holds something else.
        WorkerLost: If a worker process dies.
    """
    partial = folder.path / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    corpus = Corpus(units)
    adequacy = AdequacyScores(corpus, data.adequacy, folder.path / "lexicon")
    names = reasons(build_rules(data.filters, data.quality_threshold))
    with explained_disk_errors(partial, corpus.rows_in * _BYTES_PER_PAIR):
        decision = Decisions(
            corpus,
            data,
            adequacy=adequacy,
            evaluation_keys=evaluation_keys,
            engine=engine,
            phase=lambda name: phases.start(name, rows=corpus.rows_in),
        ).run()
        phases.start("writing", rows=corpus.rows_in)
        after = write_corpus(corpus, decision.verdicts, names, partial, engine)
        phases.start("report")
        report = account(
            corpus, decision.verdicts, names, adequacy=adequacy, after=after, data=data
        )
        report.adequacy, report.sampling = decision.adequacy, decision.sampling
        report.coverage = decision.coverage
        for name in (folder.text.name, folder.rejected.name):
            shards.flush_folder(partial / name)
        folder.refuse_foreign_shards()  # it may have come since the run began
        folder.forget_finish()
        for target in (folder.text, folder.rejected):
            shutil.rmtree(target, ignore_errors=True)
            (partial / target.name).rename(target)
        partial.rmdir()
    return report
