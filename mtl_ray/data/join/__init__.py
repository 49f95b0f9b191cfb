"""The point-in-time join: a plan of our own over Polars' as-of join. Nothing here needs Feast."""
