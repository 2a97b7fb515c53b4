"""The training loop and its parts; knows nothing of teachers, prompts or clouds."""
