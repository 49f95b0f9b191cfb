"""From a Feast feature service and a spine to an encoded, immutable training set."""
