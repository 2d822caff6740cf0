"""The command `lithops`: one module for each group of commands, loaded without what the commands need."""
