"""What runs in a function: handler → fetch → run → report. Needs the standard library, cloudpickle and a storage."""

NUMBER_VARIABLE = "LITHOPS_WORKER_NUMBER"
"""Set in workers that whoever starts them counts: the first one is 1."""
