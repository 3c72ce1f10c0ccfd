"""The mathematics: caches, schemes, operators, prices, and the answers they give."""
