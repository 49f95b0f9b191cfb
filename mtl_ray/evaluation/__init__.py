"""From a predictions table to every metric with its interval and baseline."""
