"""Repairs made to the text before it is judged.

    suspects       one pass over the bytes finds the rows that a repair may apply to
    rewriting      compiled: characters, white space, Chinese spacing and punctuation
    repairs        in Python: entities, mojibake, normal forms, OpenCC phrases, quotation marks
    pair_repairs   in Python: tags and list markers that only one side of a pair has
    normaliser     all of it, until nothing changes

Most rows have no suspect and are not touched. Repairs feed each other (an entity may hide a
zero-width space, a removed one may join letters), so a row that changed goes through all of them
again until nothing changes: what `Normaliser` returns, it would return again.
"""

from src.corpus.normalise.normaliser import Normaliser

__all__ = ["Normaliser"]
