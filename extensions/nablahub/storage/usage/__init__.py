"""What teams and users take of the disk."""
