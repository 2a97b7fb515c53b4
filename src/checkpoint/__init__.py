"""Folders of tensors and text that are whole or absent, and which of them to keep and resume."""
