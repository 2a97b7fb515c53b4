"""One question per script; each prints its answer and stores it in results/ with its machine."""
