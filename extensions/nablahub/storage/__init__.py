"""Storage providers: where a team's data lies when it is not the hub's own store."""
