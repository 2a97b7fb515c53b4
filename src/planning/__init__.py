"""What a run needs, takes and costs, worked out before any money is spent. No Paddle here."""
