"""Stands for the standard library's package `concurrent`: see `lithops.concurrent.futures`."""
