"""A trained model as others use it: a plain Hugging Face folder that proves itself."""
