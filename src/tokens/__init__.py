"""Token ids: the tokenizer, prompts, the cache on disk, the order of the stream, batches."""
