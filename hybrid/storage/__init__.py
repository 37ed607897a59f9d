"""The drivers of the storage port."""
