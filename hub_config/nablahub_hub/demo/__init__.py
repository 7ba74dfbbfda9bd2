"""``nablahub demo``: the whole path, from files to a served prediction, on a hub of one's own."""
