"""The teacher's distributions, computed once and stored compactly beside the token cache."""
