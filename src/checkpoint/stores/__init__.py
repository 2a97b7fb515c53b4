"""Checkpoints outside the machine that trains: folders, OSS, S3, the Hugging Face Hub."""
