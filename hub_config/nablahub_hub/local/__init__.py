"""One machine: what ``nablahub up`` supervises and how it is found again."""
