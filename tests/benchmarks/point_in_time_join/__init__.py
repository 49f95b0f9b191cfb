"""Our offline store against Feast's own and against bare engines: seconds, peak memory, rows lost and rows wrong."""
