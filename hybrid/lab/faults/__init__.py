"""The fault campaign: real nodes are killed, hung and cut apart while everybody writes, and promises are checked."""
