"""Rows: where they come from, how files of them are read, and how raw rows are encoded.

``preprocessing`` encodes, ``fitting`` fits it, ``files`` reads CSV, Parquet and NPZ, ``sources``
makes the splits a recipe trains on. Nothing here knows training.
"""
