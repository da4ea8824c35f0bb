"""Not written yet: findings."""
