"""YAML and markdown agents -> one typed config, every mistake with its place."""
