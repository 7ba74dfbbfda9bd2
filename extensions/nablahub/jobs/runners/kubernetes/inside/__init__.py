"""What runs inside a task's pod: the command's parent, and what brings its words and files out.

Standard library only: an image of one's own needs a Python and this package, nothing else.
"""
