"""Corpora as rows: which files a source names, and how each format turns bytes into pairs.

    files        paths, globs and braces to files       remote   URLs to files of this machine
    streams      bytes of a file, unpacked              encoding is it UTF-8, and what else
    line_reader  whole lines, many at a time            line_index   where to start reading
    moses, tsv, csv_files, json_lines, parquet, tmx, po: one format each, behind `RowFile`
    tables       all of it together

A row that cannot be read becomes a `BadRow` with the reason; it is counted and can be read back,
and the rows after it stay aligned. Which rows there are depends on the files alone, never on the
ranges and blocks in which they are read.
"""

from src.corpus.readers.blocks import BadRow, Block
from src.corpus.readers.files import (
    find_files,
    is_remote,
    languages_in_file,
    source_languages,
    source_names,
)
from src.corpus.readers.remote import fetch_sources, named_by_url
from src.corpus.readers.streams import read_head
from src.corpus.readers.tables import Table, open_tables, read_blocks

__all__ = [
    "BadRow",
    "Block",
    "Table",
    "fetch_sources",
    "find_files",
    "is_remote",
    "languages_in_file",
    "named_by_url",
    "open_tables",
    "read_blocks",
    "read_head",
    "source_languages",
    "source_names",
]
