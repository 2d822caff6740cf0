"""Formats of input data, by name: each knows how its data is cut into parts, and how a part is read.

::

    client:  name ─► registry.find_format ─► Format.cut(whole object) ─► DataParts, which travel with the calls
    worker:  DataPart.format ─► registry.find_format ─► Format.open(part) ─► what the function sees as `obj`

Plain text is no format: its parts are cut and opened with nothing of this folder loaded on the worker.
"""
