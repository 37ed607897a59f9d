"""Containers: images, networks, limits, and the worker that holds the lxc binding."""
