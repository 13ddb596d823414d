"""`adbo.storage`: an Optuna storage that every rank holds in memory, for any Optuna sampler.

It does not know adbo's own optimizer, nor databases.
"""
