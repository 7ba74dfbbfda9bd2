"""The catalog of public datasets: what anybody may take from its source, with licence and proof."""
