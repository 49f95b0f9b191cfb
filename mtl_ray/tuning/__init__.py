"""Searching task weights, architecture and training together, on one training set, with Ray Tune and Optuna.

parameters, objective, settings, load    the space file
check, resolve, points, start            what is refused; from values to configs; points of a space; where to begin
searcher, schedulers                     Optuna and Ray Tune's schedulers
trial, one_worker, several_workers       what a trial runs and reports
search                                   the driver: a new search, and one to go on with
folder, outcome, front, finish           what a search leaves
view, table, page                        what is shown
promote                                  a trial as a model
request                                  jobs/tune.py

Nothing is imported here: every trial would wait for what only the driver needs.
"""
