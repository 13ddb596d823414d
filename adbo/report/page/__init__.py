"""The report of a study as one HTML page that needs no network and contains no script.

`columns` reads the trials into arrays. `progress`, `time_use`, `parameters`, `pruning`, `front`
and `replayed` are functions from these arrays to what is shown; they know neither HTML nor plots.
`svg`, `plots` and `parameter_plots` draw, `template` writes HTML, `run_sections` and
`parameter_sections` say what is shown, and `document` puts all together.
"""
