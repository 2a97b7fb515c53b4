"""Adequacy: is one side a translation of the other, learned from the corpus itself.

    units          a text as units: words, characters and pairs of characters
    pieces         a sample read in pieces, one unit array a side
    tally          counts of millions of things in a table of fixed size
    vocabulary     the units seen often enough, numbered
    associations   which units of one side go with which of the other
    evidence       what the units of a pair say for and against it
    calibration    from evidence to a probability, by pairs misaligned on purpose
    learning       all of the above in order
    lexicon        what was learned: scores pairs, lies in a folder

No model, dictionary or language knowledge is downloaded. A unit that often stands opposite another
is taken for its translation; a pair is adequate if its units meet their translations.
"""

from src.corpus.adequacy.learning import learn
from src.corpus.adequacy.lexicon import Lexicon

__all__ = ["Lexicon", "learn"]
