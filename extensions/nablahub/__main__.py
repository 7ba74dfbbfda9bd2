"""``python -m nablahub``."""

from nablahub.cli import main

main(prog_name="nablahub")
