"""The translation service: HTTP in front of one model, and a page to type on."""
