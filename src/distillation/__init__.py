"""The teacher's side of the student's training."""
