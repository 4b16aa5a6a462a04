"""Stored trial data to tables and figures. Reads a trial store's files; needs no torch and no Ray."""
