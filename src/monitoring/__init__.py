"""metrics.jsonl and its views."""
