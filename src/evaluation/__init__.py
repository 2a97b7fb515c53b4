"""Decoding, scores, and the commands evaluate and translate."""
