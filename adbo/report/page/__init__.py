"""The report of a study as one HTML page that needs no network and contains no script.

`columns` reads the trials into arrays. `progress`, `time_use`, `parameters`, `pruning` and `front`
are functions from these arrays to what is shown; they know neither HTML nor matplotlib. `svg`,
`plots` and `parameter_plots` draw, `template` writes HTML, and `sections` puts all together.
"""
