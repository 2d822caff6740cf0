"""What runs in a function: handler → fetch → run → report. Needs the standard library, cloudpickle and a storage."""
