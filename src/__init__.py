"""LinguaBridge: raw English-Chinese text in, a small fast translation model out."""
