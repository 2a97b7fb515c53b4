"""Text: reading, repairing, scoring, dropping, choosing, splitting, reporting."""
