"""Long work in pieces: who runs them, and how far it is."""
