"""The teacher's translations as targets (Kim & Rush 2016, arXiv 1606.07947)."""
