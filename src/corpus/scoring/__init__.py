"""Scores of sentence pairs: how much of something a pair has, before any decision is made."""
