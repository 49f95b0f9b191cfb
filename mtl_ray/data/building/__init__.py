"""Building a training set, a piece at a time.

inputs      everything that a training set is built from
build       what all pieces need to know
buckets     join, check, split and sample a range of spine rows; count what is fitted
shards      encode the buckets and shuffle their rows into shards
work_folder where unfinished builds stand, so that a second run goes on
spine_check what is wrong with the spine's own rows, before anything is joined
pipeline    the stages, one after the other
place       in this process or on Ray
append      new rows on top of a finished training set
"""
