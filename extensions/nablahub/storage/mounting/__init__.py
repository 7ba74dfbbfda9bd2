"""Folders of a bucket, seen as folders of this machine: by FUSE where it can, else copied."""
