"""Fetching published data sets: download, check, unpack, verify; every step survives a kill."""
