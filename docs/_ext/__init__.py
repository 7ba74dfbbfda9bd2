"""What the documentation derives from the code, at each build."""
