"""Projects: a team's work on one subject; what everything else belongs to."""
