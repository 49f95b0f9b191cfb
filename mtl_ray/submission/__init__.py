"""Sending a command of this repository to a Ray cluster as a job, and following it to its end."""
